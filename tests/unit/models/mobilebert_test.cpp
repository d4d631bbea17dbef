// MobileBERT in all variants of its configuration against Hugging Face (tests/data/models).
#include <gmock/gmock.h>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/mul.h>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/io/config_keys.h"
#include "framework/io/safetensors.h"
#include "framework/json/json.h"
#include "framework/record/model_folder.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

constexpr const char* kFloat = "{rules: []}";
constexpr const char* kVariants[] = {"mobilebert",
                                     "mobilebert_layer_norm",
                                     "mobilebert_narrow_attention",
                                     "mobilebert_wide_attention",
                                     "mobilebert_no_bottleneck",
                                     "mobilebert_plain"};
constexpr int64_t kLength = 24;  // of padded sequences

fs::path folder_of(const std::string& variant) { return test_data() / "models" / variant; }

Batch batch_of(const fs::path& folder, int64_t keep_padding_to = 0) {
  return read_batches(folder / "inputs.safetensors", {"b4.input_ids"}, keep_padding_to)[0];
}

at::Tensor golden(const fs::path& folder, const std::string& name) {
  return SafetensorsFile(folder / "logits.safetensors").read(name);
}

class MobileBertVariants : public testing::TestWithParam<const char*> {
 protected:
  fs::path folder() const { return folder_of(GetParam()); }
};

TEST_P(MobileBertVariants, HaveTheLogitsOfHuggingFace) {
  QuantizedNetwork network(folder(), kFloat);
  const auto compare = [&](const Batch& batch, const char* name) {
    const at::Tensor expected = golden(folder(), name)[4];
    const double difference = max_difference(network.logits(batch, false, false), expected);
    RecordProperty(name, std::to_string(difference / expected.abs().max().item<double>()));
    EXPECT_LE(difference, float_tolerance(expected)) << name;
  };
  compare(batch_of(folder()), "fp.logits");
  // The last token of a sequence sees the row of the padding token.
  compare(batch_of(folder(), kLength), "fp.padded_logits");
}

TEST_P(MobileBertVariants, GammaMigrationKeepsWhatTheyCompute) {
  QuantizedNetwork network(folder(), kFloat);
  const at::Tensor before = network.logits(batch_of(folder()), false, false);
  size_t migrated = 0;
  for (const ScaleGroup& group : network.model().graph().groups) {
    migrated += group.norm != nullptr && !group.outlier_suppression_skips;
  }
  EXPECT_THAT(network.transform("gamma_migration"), HasSubstr(std::to_string(migrated) + " norms"));
  size_t left = 0;
  for (const ScaleGroup& group : network.model().graph().groups) {
    if (group.norm == nullptr || group.outlier_suppression_skips) continue;
    left += group.norm->weight.ne(1).any().item<bool>();
  }
  EXPECT_EQ(left, 0u) << "norms with a gamma";
  const at::Tensor after = network.logits(batch_of(folder()), false, false);
  // Betas are divided and multiplied again: some more roundings than another order of sums.
  EXPECT_LE(max_difference(after, before), 5 * float_tolerance(before));
}

TEST_P(MobileBertVariants, EveryKeyOfTheFolderIsKnown) {
  const Checkpoint checkpoint(folder());
  check_config_keys(checkpoint, "mobilebert");
  EXPECT_THAT(checkpoint.notes(), testing::IsEmpty());
}

// Also the linears that nothing reads.
TEST_P(MobileBertVariants, AreStoredAsTheyWereRead) {
  const TemporaryFolder copy;
  QuantizedNetwork network(folder(), kFloat);
  write_model_folder(copy.path(), {network.model().stored_parameters(), ""}, folder());
  const SafetensorsFile expected(folder() / "model.safetensors");
  const SafetensorsFile found(copy / "model.safetensors");
  std::vector<std::string> left_out;  // a pooler that no classifier reads
  for (const std::string& name : expected.names()) {
    if (!found.contains(name)) {
      left_out.push_back(name);
      continue;
    }
    EXPECT_TRUE(equal_bits(found.read(name), expected.read(name))) << name;
  }
  EXPECT_THAT(left_out, testing::IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Variants, MobileBertVariants, testing::ValuesIn(kVariants),
                         [](const auto& test) { return test.param; });

TEST(MobileBert, GradientsEqualThoseOfPytorch) {
  const fs::path folder = folder_of("mobilebert");
  QuantizedNetwork network(folder, kFloat);
  auto parameters = network.model().parameters();
  for (auto& [name, tensor] : parameters) tensor.set_requires_grad(true);
  const at::Tensor logits = network.model().forward(batch_of(folder), network.pass()).at("logits");
  at::mul(logits, at::linspace(-1, 1, logits.numel()).view_as(logits)).sum().backward();
  const SafetensorsFile goldens(folder / "logits.safetensors");
  size_t compared = 0;
  for (const auto& [name, tensor] : parameters) {
    const at::Tensor expected = goldens.read("grad." + name);
    // Keys are compared with each other only: their bias has no gradient but rounding.
    const bool vanishes = name.find("self.key.bias") != std::string::npos;
    const double tolerance = vanishes ? 1e-5 : float_tolerance(expected);
    EXPECT_LE(max_difference(tensor.grad(), expected), tolerance) << name;
    ++compared;
  }
  EXPECT_EQ(compared + 2, goldens.names().size());  // all but the logits
}

class MobileBertConfig : public testing::Test {
 protected:
  explicit MobileBertConfig(const std::string& variant = "mobilebert")
      : origin_(folder_of(variant)), config_(read_json_file(origin_ / "config.json")) {
    const SafetensorsFile file(origin_ / "model.safetensors");
    for (const std::string& name : file.names()) tensors_[name] = file.read(name);
  }
  QuantizedNetwork load() {
    folder_.write("config.json", config_.dump());
    write_safetensors(folder_ / "model.safetensors", {tensors_.begin(), tensors_.end()});
    return QuantizedNetwork(folder_.path(), kFloat);
  }
  std::string failure() {
    return message_of<DataError>([&] { load(); });
  }

  TemporaryFolder folder_;
  fs::path origin_;
  nlohmann::json config_;
  std::map<std::string, at::Tensor> tensors_;
};

TEST_F(MobileBertConfig, ValuesThatMakeNoSense) {
  const auto good = config_;
  const auto refusal = [&](const char* key, const nlohmann::json& value) {
    config_ = good;
    config_[key] = value;
    return failure();
  };
  EXPECT_THAT(refusal("normalization_type", "rms_norm"),
              AllOf(HasSubstr("normalization_type"), HasSubstr("no_norm or layer_norm")));
  EXPECT_THAT(refusal("true_hidden_size", 24),
              AllOf(HasSubstr("true_hidden_size"), HasSubstr("12")));
  EXPECT_THAT(refusal("num_attention_heads", 5),
              AllOf(HasSubstr("num_attention_heads"), HasSubstr("divisor of 12")));
  EXPECT_THAT(refusal("num_feedforward_networks", 0), HasSubstr("num_feedforward_networks"));
  EXPECT_THAT(refusal("key_query_shared_bottleneck", false),
              AllOf(HasSubstr("intra_bottleneck_size"), HasSubstr("hidden_size")));
  EXPECT_THAT(refusal("trigram_input", "yes"), HasSubstr("trigram_input"));
  // Feed-forward blocks that the folder lacks, or that nothing runs.
  EXPECT_THAT(refusal("num_feedforward_networks", 4), HasSubstr("ffn.2.intermediate.dense.weight"));
  EXPECT_THAT(refusal("num_feedforward_networks", 2), HasSubstr("ffn.1.intermediate.dense.weight"));
}

TEST_F(MobileBertConfig, AnswersQuestions) {
  config_["architectures"] = {"MobileBertForQuestionAnswering"};
  const at::Tensor weight = tensors_.at("classifier.weight").narrow(0, 0, 2).contiguous();
  const at::Tensor bias = tensors_.at("classifier.bias").narrow(0, 0, 2).contiguous();
  std::erase_if(tensors_, [](const auto& item) {
    return item.first.starts_with("classifier") || item.first.find("pooler") != std::string::npos;
  });
  tensors_["qa_outputs.weight"] = weight;
  tensors_["qa_outputs.bias"] = bias;
  QuantizedNetwork network = load();
  const at::NoGradGuard no_gradients;
  at::Tensor last;
  const SiteId site = network.site("activation:encoder.1.bottleneck.norm");
  const Outputs outputs = network.model().forward(
      batch_of(origin_),
      network.pass(false, false, [&](SiteId id, const at::Tensor& rows, const at::Tensor&) {
        if (id == site) last = rows.clone();
      }));
  const at::Tensor expected = at::linear(last, weight, bias);
  EXPECT_LE(max_difference(outputs.at("start_logits"), expected.select(1, 0)),
            float_tolerance(expected));
  EXPECT_LE(max_difference(outputs.at("end_logits"), expected.select(1, 1)),
            float_tolerance(expected));
}

// The blocks of the second layer whose branch sees dropout: where it is dropped, a residual sum is
// what passes the block by.
std::vector<std::string> dropped_blocks(const char* variant, const char* in_front) {
  const fs::path folder = folder_of(variant);
  QuantizedNetwork network(folder, kFloat);
  Dropout dropout({.hidden = 0.3}, 1);
  dropout.start_step(0);
  std::map<std::string, at::Tensor> rows;
  const Tap tap = [&](SiteId id, const at::Tensor& before, const at::Tensor&) {
    rows[network.model().sites()[static_cast<size_t>(id)].name] = before.clone();
  };
  const at::NoGradGuard no_gradients;
  network.model().forward(batch_of(folder),
                          Pass(network.points(), {.tap = tap, .dropout = &dropout}));
  std::vector<std::string> dropped;
  std::string passing_by = in_front;
  for (const std::string block : {"attention", "ffn0", "ffn1", "ffn", "bottleneck"}) {
    const std::string name = "encoder.1." + block;
    if (rows.count(name + ".residual") == 0) continue;
    const std::string shortcut = block == "bottleneck" ? "encoder.0.bottleneck.norm" : passing_by;
    if (rows.at(name + ".residual").eq(rows.at(shortcut)).any().item<bool>()) {
      dropped.push_back(block);
    }
    passing_by = name + ".norm";
  }
  return dropped;
}

TEST(MobileBert, DropsWhatHuggingFaceDrops) {
  EXPECT_THAT(dropped_blocks("mobilebert", "encoder.1.bottleneck.input.norm"),
              testing::ElementsAre("bottleneck"));
  EXPECT_THAT(dropped_blocks("mobilebert_no_bottleneck", "encoder.0.ffn.norm"),
              testing::ElementsAre("attention", "ffn"));
}

}  // namespace
}  // namespace quell
