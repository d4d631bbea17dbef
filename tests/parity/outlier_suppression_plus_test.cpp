// The published code of Outlier Suppression+ on its own inputs: group by group what its search saw
// and chose, the migrated network, and its quantized logits for given ranges.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "framework/io/safetensors.h"
#include "framework/json/json.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"
#include "transforms/scaling/groups.h"
#include "transforms/thresholds/threshold_search.h"

namespace quell {
namespace {

using nlohmann::json;
using testing::HasSubstr;

// Sums of squares of the published code are float32, and products have another order of summation.
constexpr double kSameLoss = 1e-5;
// Of quantized logits: far above the noise of float32, far below the effect of a flipped rounding.
constexpr double kSameLogits = 1e-4;
// Per token and per group attention's products stay in float, and sum in another order here: one
// rounding behind them may turn, and moves the tokens that follow it in its sequence.
constexpr double kShareOfTokens = 0.85;

struct RunName {
  const char* model;
  const char* run;
};
void PrintTo(const RunName& name, std::ostream* out) { *out << name.model << "/" << name.run; }

// A run of the published code: a quantized network by the same rules, and what it found.
class Published {
 public:
  explicit Published(RunName name)
      : folder_(test_data() / "parity/outlier_suppression_plus" / name.model),
        json_(read_json_file(folder_ / fmt::format("run_{}.json", name.run))),
        tensors_(folder_ / fmt::format("run_{}.safetensors", name.run)),
        inputs_(folder_ / "inputs.safetensors") {}

  const json& settings() const { return json_; }
  size_t groups() const { return json_["groups"].size(); }
  bool has(const std::string& name) const { return tensors_.contains(name); }
  at::Tensor read(const std::string& name) const { return tensors_.read(name); }
  at::Tensor of_group(size_t group, const char* name) const {
    return read(fmt::format("mig.{}.{}", group, name));
  }
  bool group_has(size_t group, const char* name) const {
    return has(fmt::format("mig.{}.{}", group, name));
  }
  const SafetensorsFile& tensors() const { return tensors_; }

  std::string rules() const {
    const json& quant = json_["quant"];
    const json &rows = quant["a_qconfig"], &weights = quant["w_qconfig"];
    const bool products = quant.value("except_quantizer", json()).is_null();
    std::string rules = rule("weight:*", weights, weights["ch_axis"] == 0 ? "channel" : "tensor");
    rules += ", " + rule("activation:*", rows, "tensor");
    if (rows.value("disable_down_proj", false)) {
      rules += ", {sites: ['activation:*.product', 'weight:*.ffn.output'], quantize: false}";
    }
    // Its tensors [batch, length, heads, head size] have a row for each head there.
    if (products && folder_.filename() == "bloom_s0" && rows["quantizer"] != "FixedFakeQuantize") {
      rules +=
          ", {sites: 'activation:*.attention.{query,key,value}', granularity: group, group_size: "
          "16}";
    }
    return fmt::format("{{include: placements/outlier_suppression_plus{}.yaml, rules: [{}]}}",
                       products ? "" : "_float_products", rules);
  }

  // Rows 0 .. `sequences` of a batch without padding, or with it, on the right.
  Batch batch(int64_t index, int64_t sequences, bool keep_padding = false) const {
    const at::Tensor ids = inputs_.read(fmt::format("input_ids.{}", index)).to(at::kLong);
    const at::Tensor mask = real(index);
    std::vector<TokenSequence> packed;
    for (int64_t i = 0; i < sequences; ++i) {
      const at::Tensor row =
          keep_padding ? ids[i].contiguous() : ids[i].index_select(0, mask[i].nonzero().flatten());
      const int64_t* data = row.const_data_ptr<int64_t>();
      packed.push_back({{data, data + row.numel()}, {}, mask[i].sum().item<int64_t>()});
    }
    return pack(packed, keep_padding ? ids.size(1) : 0, /*pad_id=*/1);
  }
  // The rows of real tokens of [sequences, length, features].
  at::Tensor real_rows(const at::Tensor& values, int64_t index) const {
    const at::Tensor mask = real(index).slice(0, 0, values.size(0));
    return values.flatten(0, 1).index_select(0, mask.flatten().nonzero().flatten());
  }
  at::Tensor float_logits(int64_t index, int64_t sequences) const {
    return real_rows(inputs_.read(fmt::format("fp_logits.{}", index)).slice(0, 0, sequences),
                     index);
  }
  const std::filesystem::path& folder() const { return folder_; }

 private:
  static std::string rule(const std::string& sites, const json& config, std::string granularity) {
    const std::string quantizer = config["quantizer"];
    std::string more;
    if (quantizer.starts_with("Token")) granularity = "token";
    if (quantizer.starts_with("Group")) {
      granularity = "group";
      more = fmt::format(", group_size: {}", config["group_size"].get<int64_t>());
    }
    const bool averages = config["observer"] == "AvgMinMaxObserver";
    return fmt::format("{{sites: '{}', bits: {}, symmetric: {}, granularity: {}, observer: {}{}}}",
                       sites, config["bit"].get<int64_t>(), config["symmetric"].get<bool>(),
                       granularity, averages ? "avg_minmax" : "minmax", more);
  }
  // LLaMA's batches have no mask, nor padding.
  at::Tensor real(int64_t index) const {
    const std::string name = fmt::format("attention_mask.{}", index);
    const at::Tensor ids = inputs_.read(fmt::format("input_ids.{}", index));
    return inputs_.contains(name) ? inputs_.read(name) : at::ones_like(ids);
  }

  std::filesystem::path folder_;
  json json_;
  SafetensorsFile tensors_, inputs_;
};

struct Network : QuantizedNetwork {
  explicit Network(const Published& published)
      : QuantizedNetwork(published.folder(), published.rules()) {
    groups = chosen_groups(model(), {}, UsualGroups::kNormsAndProducts, "test");
    std::erase_if(groups,
                  [&](const ScaleGroup* group) { return points().point(group->site) == nullptr; });
  }
  // Everything that the published code migrated.
  void migrate(const Published& published) {
    for (size_t g = 0; g < groups.size(); ++g) {
      ChannelChange change{.scale = published.of_group(g, "scale")};
      if (published.group_has(g, "shift")) change.shift = published.of_group(g, "shift");
      rewrites.add(*groups[g], change);
    }
  }
  std::vector<ScaleGroup*> groups;
  Rewrites rewrites{model(), points()};
};

class OutlierSuppressionPlus : public testing::TestWithParam<RunName> {
 protected:
  at::NoGradGuard no_gradients_;
  Published published_{GetParam()};
};

TEST_P(OutlierSuppressionPlus, QuantizesTheNodesOfTheCode) {
  Network network(published_);
  std::vector<std::string> expected;
  for (const json& node : published_.settings()["nodes"]) {
    const std::string name = node["name"];
    // BLOOM's fused projection is three sites here.
    const int64_t parts = name.find("query_key_value") == std::string::npos ? 1 : 0;
    if (node["fake_quant_enabled"].get<bool>() && parts == 1) expected.push_back(name);
  }
  std::sort(expected.begin(), expected.end());
  std::vector<std::string> found = network.quantized_names("outlier_suppression_plus");
  std::erase_if(found, [](const std::string& name) { return name.starts_with("no name"); });
  EXPECT_EQ(found, expected);
  EXPECT_EQ(network.groups.size(), published_.groups());
}

TEST_P(OutlierSuppressionPlus, ShiftAndScaleBitForBit) {
  for (size_t g = 0; g < published_.groups(); ++g) {
    SCOPED_TRACE(g);
    if (published_.group_has(g, "shift")) {
      const Range rows{published_.read(fmt::format("ln.{}.cmin", g)),
                       published_.read(fmt::format("ln.{}.cmax", g))};
      const at::Tensor shift = published_.of_group(g, "shift");
      EXPECT_TRUE(equal_bits(shift_of(rows), shift));
      EXPECT_TRUE(equal_bits(at::sub(rows.max, shift), published_.of_group(g, "cmax_shifted")));
    }
    const Range features{published_.of_group(g, "cmin_shifted"),
                         published_.of_group(g, "cmax_shifted")};
    const auto best = published_.settings()["groups"][g]["best"].get<float>();
    EXPECT_TRUE(equal_bits(scale_of(features, best), published_.of_group(g, "scale")));
  }
}

TEST_P(OutlierSuppressionPlus, SearchFromTheStoredInput) {
  Network network(published_);
  double worst = 0;
  int64_t searched = 0;
  for (size_t g = 0; g < network.groups.size(); ++g) {
    SCOPED_TRACE(g);
    ScaleGroup& group = *network.groups[g];
    if (published_.group_has(g, "shift")) {
      network.rewrites.add(group, {.shift = published_.of_group(g, "shift")});
    }
    if (published_.group_has(g, "input")) {
      const Range features{published_.of_group(g, "cmin_shifted"),
                           published_.of_group(g, "cmax_shifted")};
      const Batch batch = published_.batch(0, 4);
      const std::vector<GroupInput> inputs{
          {&batch, published_.real_rows(published_.of_group(g, "input"), 0), {}}};
      const at::Tensor expected = published_.of_group(g, "thresholds");
      const auto thresholds =
          threshold_grid(features, 100, published_.group_has(g, "shift") ? 1 : 0.1);
      EXPECT_TRUE(at::equal(at::tensor(thresholds, at::kDouble), expected));
      const auto loss = threshold_loss(
          {group, network.model(), network.points(), features, LossForm::kPublished}, inputs);
      const ThresholdSearch found = search_thresholds(*loss, thresholds, /*early_abandon=*/false);
      const at::Tensor losses = published_.of_group(g, "losses");
      const double difference =
          at::tensor(found.losses, at::kDouble).div(losses).sub(1).abs().max().item<double>();
      EXPECT_LE(difference, kSameLoss);
      worst = std::max(worst, difference);
      EXPECT_EQ(found.chosen, losses.argmin().item<int64_t>());
      const ThresholdSearch fast = search_thresholds(*loss, thresholds, /*early_abandon=*/true);
      EXPECT_EQ(fast.chosen, found.chosen);
      EXPECT_EQ(fast.losses[static_cast<size_t>(fast.chosen)],
                found.losses[static_cast<size_t>(found.chosen)]);
      ++searched;
    }
    network.rewrites.add(group, {.scale = published_.of_group(g, "scale")});
  }
  fmt::print("{} groups, losses differ by at most {:.1e}\n", searched, worst);
}

TEST_P(OutlierSuppressionPlus, MigratedParametersAndFloatLogits) {
  Network network(published_);
  network.migrate(published_);
  const auto parameters = network.model().stored_parameters();
  int64_t compared = 0;
  for (const std::string& name : published_.tensors().names()) {
    if (!name.starts_with("migrated.")) continue;
    const at::Tensor expected = published_.read(name);
    const at::Tensor& found = parameters.at(name.substr(name.find('.') + 1));
    // One division or product; of a bias a sum of 64 products more.
    EXPECT_LE(max_difference(found, expected), 2e-6 * expected.abs().max().item<double>()) << name;
    ++compared;
  }
  EXPECT_GT(compared, 0);
  const at::Tensor plain = published_.float_logits(0, 4);
  const at::Tensor found = network.logits(published_.batch(0, 4), false, false);
  EXPECT_LE(max_difference(found, plain), float_tolerance(plain));
  if (!published_.has("fp_logits_migrated.0")) return;
  const at::Tensor expected = published_.real_rows(published_.read("fp_logits_migrated.0"), 0);
  EXPECT_LE(max_difference(found.slice(0, 0, expected.size(0)), expected),
            float_tolerance(expected));
}

// Of a node; of BLOOM's fused projection the rows of one part: of each head query, key and value.
QuantParameters given(const Published& published, const std::string& node, const Network& network,
                      SiteId site, int64_t part) {
  const auto read = [&](const char* field) {
    at::Tensor values = published.read(fmt::format("node.{}.{}", node, field)).to(at::kFloat);
    values = values.view({-1});
    if (part < 0 || values.numel() == 1) return values;
    const int64_t heads = 4;
    return values.view({heads, 3, -1}).select(1, part).reshape({-1});
  };
  const QuantSpec& spec = network.plan()[static_cast<size_t>(site)].spec;
  return {read("scale"), read("zero_point"),
          kernels::levels(spec.grid, static_cast<int>(spec.bits), spec.symmetric)};
}

// Of each token of two rows of two batches. With OPT's padding, so that products have the shapes of
// the published ones; BLOOM's is on the other side.
std::vector<double> logit_differences(const Published& published, QuantizedNetwork& network) {
  const bool keep = published.folder().filename() == "opt_s0";
  std::vector<double> differences;
  for (const int64_t index : {0, 1}) {
    const at::Tensor expected = published.read(fmt::format("q_logits.{}", index));
    at::Tensor found = network.logits(published.batch(index, 2, keep), true, true);
    if (keep) found = published.real_rows(found.view(expected.sizes()), index);
    const auto rows = row_differences(found, published.real_rows(expected, index));
    differences.insert(differences.end(), rows.begin(), rows.end());
  }
  return differences;
}

TEST_P(OutlierSuppressionPlus, QuantizedLogitsOfGivenRanges) {
  Network network(published_);
  network.migrate(published_);
  const auto set = [&](const std::string& node, SiteId site, int64_t part) {
    SitePoint& point = *network.points().point(site);
    if (point.spec.is_dynamic()) return;
    point.quantizer->set_parameters(given(published_, node, network, site, part));
    point.calibrated = true;
    network.points().weight_changed(site);
  };
  for (const json& entry : published_.settings()["nodes"]) {
    const std::string node = entry["name"];
    if (!entry["fake_quant_enabled"].get<bool>()) continue;
    if (node.find("query_key_value") == std::string::npos) {
      set(node, network.site(node), -1);
      continue;
    }
    const std::string layer = node.substr(node.find(".h.") + 3, 1);
    for (const char* part : {"query", "key", "value"}) {
      set(node, network.site(fmt::format("weight:decoder.{}.attention.{}", layer, part)),
          part[0] == 'q' ? 0 : (part[0] == 'k' ? 1 : 2));
    }
  }
  const std::vector<double> differences = logit_differences(published_, network);
  const double share = share_within(differences, kSameLogits);
  fmt::print("{:.1f} % of {} tokens within {:g}, largest difference {:.2g}\n", 100 * share,
             differences.size(), kSameLogits,
             *std::max_element(differences.begin(), differences.end()));
  EXPECT_GE(share, kShareOfTokens);
}

constexpr RunName kRuns[] = {{"opt_s0", "int8"},
                             {"opt_s0", "int6"},
                             {"opt_s0", "int6_token"},
                             {"opt_s0", "int4_group16"},
                             {"bloom_s0", "int8"},
                             {"bloom_s0", "int6"},
                             {"bloom_s0", "int4_token_bmm"},
                             {"llama_s0", "int6_token"},
                             {"llama_s0", "int6_token_disable"}};

INSTANTIATE_TEST_SUITE_P(Runs, OutlierSuppressionPlus, testing::ValuesIn(kRuns),
                         [](const auto& test) {
                           return fmt::format("{}_{}", test.param.model, test.param.run);
                         });

// The whole search as published: block by block, on what the migrated and quantized blocks in front
// give of batch 0. LLaMA's, which has no padding: that of the others has a part in their shifts,
// at positions that padding does not have here.
TEST(WholeSearch, FindsWhatTheCodeFound) {
  const at::NoGradGuard no_gradients;
  const Published published({"llama_s0", "int6_token_disable"});
  Network network(published);
  std::vector<Batch> batches;
  for (const int64_t index : {0, 0, 1, 2, 3}) {  // batch 0 was seen by the migration, too
    batches.push_back(published.batch(index, 4));
  }
  network.transform("shift_scale", "{losses: published}", batches);
  const auto parameters = network.model().stored_parameters();
  Network migrated(published);
  migrated.migrate(published);
  for (const auto& [name, expected] : migrated.model().stored_parameters()) {
    const double largest = expected.abs().max().item<double>();
    // Extremes are those of rows that were summed in another order.
    EXPECT_LE(max_difference(parameters.at(name), expected), 1e-5 * largest) << name;
  }
  network.calibrate(batches);
  const std::vector<double> differences = logit_differences(published, network);
  EXPECT_GE(share_within(differences, kSameLogits), kShareOfTokens);
}

// With its down projections, the published code itself finds another threshold for the last group
// where its products round otherwise.
TEST(WholeSearch, FindsAllButTheLastThreshold) {
  const at::NoGradGuard no_gradients;
  const Published published({"llama_s0", "int6_token"});
  Network network(published), migrated(published);
  const std::vector<Batch> batches{published.batch(0, 4)};
  network.transform("shift_scale", "{losses: published}", batches);
  migrated.migrate(published);
  int64_t same = 0;
  for (size_t g = 0; g < network.groups.size(); ++g) {
    // Of gate and up the gate: the rows of the other are scaled by the next group.
    const at::Tensor& found = network.groups[g]->readers.back()->weight;
    const at::Tensor& expected = migrated.groups[g]->readers.back()->weight;
    same += max_difference(found, expected) <= 1e-5 * expected.abs().max().item<double>();
  }
  EXPECT_GE(same, 5);
}

}  // namespace
}  // namespace quell
