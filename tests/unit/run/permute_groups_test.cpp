// Permutation by range: which features share a scale, how that is stored, and with what it works
// together.
#include <gmock/gmock.h>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <map>
#include <set>

#include "framework/base/error.h"
#include "framework/io/hdf5_writer.h"
#include "framework/quant/scale_map.h"
#include "framework/record/results_file.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using testing::HasSubstr;

std::filesystem::path tiny_model() { return test_data() / "parity/outlier_suppression"; }

std::vector<Batch> batches(int count = 2) {
  std::vector<std::string> keys;
  for (int i = 0; i < count; ++i) keys.push_back(fmt::format("b{}.input_ids", i));
  return read_batches(tiny_model() / "inputs.safetensors", keys);
}

const char* const kGroups =
    "{sites: ['group:x', 'group:h', 'group:y'], "
    "granularity: feature_groups, groups: 4}";

std::string quant(const std::string& last_rules = kGroups, const std::string& quantizer = "fixed",
                  const std::string& observer = "minmax") {
  return fmt::format(
      "{{include: placements/qualcomm.yaml, rules: ["
      "{{sites: ['weight:*', 'activation:*'], bits: 8, during_calibration: observe}},"
      "{{sites: 'activation:*', quantizer: {}, observer: {}}}, {}]}}",
      quantizer, observer, last_rules);
}

// What the float network, or one that quantizes, has at a site.
at::Tensor values_at(QuantizedNetwork& network, SiteId site, const std::vector<Batch>& all,
                     bool quantized = false) {
  std::vector<at::Tensor> seen;
  for (const Batch& batch : all) {
    network.logits(batch, quantized, quantized,
                   [&](SiteId id, const at::Tensor& before, const at::Tensor&) {
                     if (id == site) seen.push_back(before.clone());
                   });
  }
  return at::cat(seen);
}

const FeatureGroups& groups_of(QuantizedNetwork& network, const std::string& name) {
  const auto& groups = network.point(name).spec.feature_groups;
  if (groups == nullptr) throw Error(name + " has no groups");
  return *groups;
}

// The definition: ranges ascend from group to group, and groups are equally large.
void expect_groups_of(const FeatureGroups& groups, const at::Tensor& ranges) {
  ASSERT_EQ(groups.features(), ranges.numel());
  double below = -1;
  for (int64_t group = 0; group < groups.groups(); ++group) {
    EXPECT_EQ(std::ssize(groups.members(group)), ranges.numel() / groups.groups());
    double largest = 0;
    for (const int64_t feature : groups.members(group)) {
      const auto range = ranges[feature].item<double>();
      EXPECT_GE(range, below);
      largest = std::max(largest, range);
    }
    below = largest;
  }
}

at::Tensor ranges_of(const at::Tensor& values) {
  return std::get<0>(values.max(0)).sub(std::get<0>(values.min(0)));
}

TEST(PermuteGroups, GroupsOfLikeRangesOverAllBatches) {
  QuantizedNetwork network(tiny_model(), quant());
  network.solve("permute_groups", batches());
  for (int layer = 0; layer < 3; ++layer) {
    for (const char* site : {"attention.norm", "ffn.output", "ffn.residual"}) {
      const std::string name = fmt::format("activation:encoder.{}.{}", layer, site);
      SCOPED_TRACE(name);
      expect_groups_of(groups_of(network, name),
                       ranges_of(values_at(network, network.site(name), batches())));
      EXPECT_FALSE(network.point(name).calibrated);
    }
  }
  // The others are as they were.
  EXPECT_EQ(network.point("activation:encoder.0.ffn.norm").spec.feature_groups, nullptr);
  network.calibrate(batches());
  const at::Tensor scale =
      network.point("activation:encoder.1.ffn.residual").quantizer->parameters().scale;
  EXPECT_EQ(scale.numel(), 4);
  EXPECT_LT(scale[0].item<float>(), scale[3].item<float>());
}

TEST(PermuteGroups, OneScaleForAllChangesNothingAndOnePerFeatureIsAChannel) {
  const auto logits = [](const std::string& rule, bool permute) {
    QuantizedNetwork network(tiny_model(), quant(rule));
    if (permute) network.solve("permute_groups", batches());
    network.calibrate(batches());
    return network.logits(batches()[0], true, true);
  };
  const std::string sites = "{sites: ['group:x', 'group:h', 'group:y'], granularity: ";
  EXPECT_TRUE(equal_bits(logits(sites + "feature_groups, groups: 1}", true),
                         logits(sites + "tensor}", false)));
  EXPECT_TRUE(equal_bits(logits(sites + "feature_groups, groups: 64}", true),
                         logits(sites + "channel, axis: 1}", false)));
}

TEST(PermuteGroups, LessErrorThanNeighbours) {
  const auto error = [](bool permute) {
    QuantizedNetwork network(tiny_model(), quant());
    if (permute) network.solve("permute_groups", batches());
    network.calibrate(batches());
    const SiteId site = network.site("activation:encoder.2.ffn.residual");
    const at::Tensor values = values_at(network, site, batches());
    const at::Tensor quantized = network.points().point(site)->quantizer->apply(values, false);
    return quantized.sub(values).square().sum().item<double>();
  };
  EXPECT_LT(error(true), error(false));
}

TEST(PermuteGroups, ALayerSharesTheGroupsOfItsOutput) {
  QuantizedNetwork network(tiny_model(), quant());
  network.solve("permute_groups", batches(), "{shared: layer}");
  const auto shared = [&](const std::string& site) {
    return network.point("activation:encoder." + site).spec.feature_groups;
  };
  EXPECT_EQ(shared("1.attention.norm"), shared("1.ffn.output"));
  EXPECT_EQ(shared("1.ffn.residual"), shared("1.ffn.output"));
  EXPECT_NE(shared("1.ffn.output"), shared("2.ffn.output"));
  const std::string source = "activation:encoder.1.ffn.output";
  expect_groups_of(groups_of(network, source),
                   ranges_of(values_at(network, network.site(source), batches())));
}

// "published": of the last batch, in a network where all but the permuted sites quantize.
TEST(PermuteGroups, AsPublished) {
  QuantizedNetwork network(tiny_model(), quant(kGroups, "fixed", "current_minmax"));
  network.solve("permute_groups", batches(), "{network: published}");
  QuantizedNetwork last(tiny_model(), quant(kGroups, "fixed", "current_minmax"));
  last.solve("permute_groups", batches(), "{network: published, first_batch: 1}");
  const std::string name = "activation:encoder.2.ffn.residual";
  EXPECT_TRUE(at::equal(groups_of(network, name).group_of(), groups_of(last, name).group_of()));

  // The same by hand: weights float, groups off, everything else observes and quantizes.
  QuantizedNetwork by_hand(
      tiny_model(), quant("{sites: '*', during_calibration: observe_and_quantize},"
                          "{sites: ['weight:*', 'group:x', 'group:h', 'group:y'], quantize: false}",
                          "fixed", "current_minmax"));
  const std::vector<Batch> second = {batches()[1]};
  by_hand.calibrate(second);
  expect_groups_of(groups_of(network, name),
                   ranges_of(values_at(by_hand, by_hand.site(name), second, true)));
}

TEST(PermuteGroups, SomeBatchesAndSites) {
  QuantizedNetwork network(tiny_model(), quant());
  network.solve("permute_groups", batches(),
                "{first_batch: 1, batches: 1, sites: 'activation:encoder.0.*'}");
  const std::string name = "activation:encoder.0.ffn.residual";
  expect_groups_of(groups_of(network, name),
                   ranges_of(values_at(network, network.site(name), {batches()[1]})));
  EXPECT_EQ(network.point("activation:encoder.1.ffn.residual").spec.feature_groups, nullptr);
  network.calibrate(batches(), "{batches: 1}");
  const Range range = network.point("activation:embeddings.norm").range;
  const at::Tensor first =
      values_at(network, network.site("activation:embeddings.norm"), {batches()[0]});
  EXPECT_EQ(range.max.item<float>(), first.max().item<float>());
}

TEST(PermuteGroups, Mistakes) {
  const auto message = [](const std::string& rules, const std::string& params = "") {
    QuantizedNetwork network(tiny_model(), quant(rules));
    return message_of<ConfigError>([&] { network.solve("permute_groups", batches(), params); });
  };
  EXPECT_THAT(message("{sites: 'group:y', granularity: feature_groups, groups: 5}"),
              HasSubstr("`groups: 5` of activation:encoder.0.ffn.residual does not divide its 64 "
                        "features; choose a divisor"));
  EXPECT_THAT(message("{sites: 'activation:*', bits: 8}"),
              HasSubstr("give it to some of them, with the number of `groups`"));
  EXPECT_THAT(message("{sites: 'group:p', granularity: feature_groups, groups: 2}"),
              HasSubstr("one column per token"));
  EXPECT_THAT(
      message("{sites: 'group:y', granularity: feature_groups, groups: 4}", "{shared: layer}"),
      HasSubstr("write `shared: none`"));
  EXPECT_THAT(message("{sites: ['group:h', 'activation:encoder.*.ffn.gelu'], "
                      "granularity: feature_groups, groups: 4}",
                      "{shared: layer}"),
              HasSubstr("activation:encoder.0.ffn.gelu has 128 features"));
  EXPECT_THAT(message(kGroups, "{first_batch: 2}"), HasSubstr("2 calibration batches"));
  EXPECT_THAT(message(kGroups, "{batches: 3}"), HasSubstr("raise calibration.samples"));
}

// A run, stored as results.h5.
std::filesystem::path stored(const TemporaryFolder& folder, const std::string& groups) {
  const Experiment experiment(
      fmt::format(R"(
name: groups
threads: 1
model: {{path: {0}}}
task: {{type: tokens, path: {0}/inputs.safetensors, keys: "b{{}}.input_ids", calibration_batches: [0, 1], evaluation_batches: 2}}
quant: {1}
pipeline: {2}
stages: [quantized]
)",
                  tiny_model().string(), quant(),
                  groups.empty() ? "[calibrate]" : "[permute_groups, calibrate]"));
  const auto file = folder / (groups + "results.h5");
  write_results_file(file, experiment.record());
  return file;
}

TEST(PermuteGroups, AStoredCalibrationBringsItsGroups) {
  const TemporaryFolder folder;
  const auto file = stored(folder, "permuted");
  QuantizedNetwork first(tiny_model(), quant()), second(tiny_model(), quant());
  first.solve("permute_groups", batches());
  first.calibrate(batches());
  second.calibrate({}, fmt::format("{{from: {}}}", file.string()));
  EXPECT_TRUE(
      equal_bits(second.logits(batches()[0], true, true), first.logits(batches()[0], true, true)));
  const std::string name = "activation:encoder.1.ffn.residual";
  EXPECT_TRUE(at::equal(groups_of(first, name).group_of(), groups_of(second, name).group_of()));

  // A file without groups is one of neighbours, whatever was there before.
  second.calibrate({}, fmt::format("{{from: {}}}", stored(folder, "").string()));
  EXPECT_EQ(second.point(name).spec.feature_groups, nullptr);
}

// A file with four scales for one site, and these groups.
std::filesystem::path file_with_groups(const TemporaryFolder& folder,
                                       const std::vector<int64_t>& group_of) {
  Hdf5Writer file(folder / "one.h5");
  const std::string site = "sites/activation/encoder.1.ffn.residual";
  file.set_attribute("/", "format", std::string(kResultsFormat));
  file.set_attribute("/", "version", kResultsVersion);
  file.write(site + "/scale", at::ones({4}));
  file.write(site + "/zero_point", at::zeros({4}));
  file.set_attribute(site, "lowest_code", int64_t{0});
  file.write(site + "/group_of", at::tensor(group_of, at::kLong));
  file.commit();
  return folder / "one.h5";
}

TEST(PermuteGroups, AStoredCalibrationOfAnotherModel) {
  const TemporaryFolder folder;
  const auto from = [&](const std::vector<int64_t>& group_of) {
    return fmt::format("{{from: {}}}", file_with_groups(folder, group_of).string());
  };
  QuantizedNetwork network(tiny_model(), quant());
  EXPECT_THAT(message_of<DataError>([&] {
                network.calibrate(batches(), from({0, 1, 2, 4}));
              }),
              testing::AllOf(HasSubstr("one.h5: activation:encoder.1.ffn.residual"),
                             HasSubstr("feature 3 belongs to group 4")));
  // Another width shows when the site is quantized.
  network.calibrate(batches(), from({0, 1, 2, 3, 3, 2}));
  EXPECT_THAT(
      message_of<ConfigError>([&] { network.logits(batches()[0], true, true); }),
      HasSubstr("those of 6 features, but the site has 64; groups from a file belong to its "
                "model"));
  QuantizedNetwork other(tiny_model(), quant("{sites: ['group:x', 'group:h', 'group:y'], "
                                             "granularity: feature_groups, groups: 8}"));
  EXPECT_THAT(message_of<DataError>([&] {
                other.calibrate(batches(), from({0, 1, 2, 3}));
              }),
              HasSubstr("needs 8 scales, the file has 4"));
}

// Every observer and quantizer, with groups in the place of one scale: each group has the
// parameters that it has alone.
TEST(PermuteGroups, AnyObserverAndQuantizer) {
  for (const char* observer : {"minmax", "avg_minmax", "ema_minmax", "current_minmax", "quantile",
                               "mse", "prune_minmax"}) {
    for (const char* quantizer : {"fixed", "lsq", "lsq_plus"}) {
      SCOPED_TRACE(fmt::format("{} {}", observer, quantizer));
      for (const bool symmetric : {false, true}) {
        QuantizedNetwork network(
            tiny_model(),
            quant(fmt::format("{}, {{sites: 'activation:*', symmetric: {}}}", kGroups, symmetric),
                  quantizer, observer));
        network.solve("permute_groups", batches());
        network.calibrate(batches());
        const std::string name = "activation:encoder.1.ffn.residual";
        const SitePoint& point = network.point(name);
        const at::Tensor rows = values_at(network, network.site(name), batches());
        const at::Tensor together = point.quantizer->apply(rows, false);
        for (int64_t group = 0; group < 4; ++group) {
          const at::Tensor members =
              at::tensor(point.spec.feature_groups->members(group), at::kLong);
          QuantSpec alone = point.spec;
          alone.granularity = Granularity::kTensor;
          alone.feature_groups = nullptr;
          const QuantParameters all = point.quantizer->parameters();
          const QuantParameters own{all.scale.narrow(0, group, 1).clone(),
                                    all.zero_point.narrow(0, group, 1).clone(), all.levels};
          EXPECT_TRUE(equal_bits(
              together.index_select(1, members).contiguous(),
              fake_quantize(rows.index_select(1, members).contiguous(), own, alone, false)));
        }
      }
    }
  }
}

// With the first paper's method: gamma migration, token-wise clipping, learned scales.
TEST(PermuteGroups, TogetherWithOutlierSuppression) {
  const auto run = [](bool groups) {
    QuantizedNetwork network(
        tiny_model(),
        quant(groups ? kGroups : "{sites: 'activation:*', bits: 8}", "lsq_plus", "prune_minmax"));
    network.transform("gamma_migration");
    if (groups) network.solve("permute_groups", batches());
    network.solve("token_wise_clipping", batches());
    network.solve("learn_scales", batches(), "{epochs: 1}");
    const at::Tensor before = network.logits(batches(3)[2], false, false);
    return network.logits(batches(3)[2], true, true).sub(before).square().mean().item<double>();
  };
  const double grouped = run(true), whole = run(false);
  EXPECT_TRUE(std::isfinite(grouped));
  EXPECT_LT(grouped, whole);
}

TEST(PermuteGroups, GroupsFollowMigratedGamma) {
  QuantizedNetwork network(tiny_model(), quant());
  network.transform("gamma_migration");
  network.solve("permute_groups", batches());
  const std::string name = "activation:encoder.1.attention.norm";
  expect_groups_of(groups_of(network, name),
                   ranges_of(values_at(network, network.site(name), batches())));
}

TEST(PermuteGroups, ByBlock) {
  QuantizedNetwork network(tiny_model(), quant());
  network.solve("by_block", batches(), "{steps: [permute_groups, calibrate]}");
  EXPECT_EQ(groups_of(network, "activation:encoder.2.ffn.residual").groups(), 4);
  EXPECT_TRUE(network.point("activation:encoder.2.ffn.residual").calibrated);
  EXPECT_THAT(message_of<ConfigError>([&] {
                network.solve("by_block", batches(), "{steps: [{calibrate: {batches: 1}}]}");
              }),
              HasSubstr("run it outside of by_block"));
}

}  // namespace
}  // namespace quell
