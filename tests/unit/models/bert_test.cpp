// BERT's configuration and tensors: what is read, and what is refused.
#include <gmock/gmock.h>

#include <ATen/core/grad_mode.h>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/io/safetensors.h"
#include "framework/json/json.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::filesystem::path tiny_model() { return test_data() / "parity/outlier_suppression"; }

using Tensors = std::vector<std::pair<std::string, at::Tensor>>;

class BertTest : public testing::Test {
 protected:
  BertTest() : config_(read_json_file(tiny_model() / "config.json")) {
    const SafetensorsFile file(tiny_model() / "model.safetensors");
    for (const std::string& name : file.names()) tensors_.emplace_back(name, file.read(name));
  }

  QuantizedNetwork load() {
    folder_.write("config.json", config_.dump());
    write_safetensors(folder_ / "model.safetensors", tensors_);
    return QuantizedNetwork(folder_.path(), "{rules: []}");
  }
  std::string failure() {
    return message_of<DataError>([&] { load(); });
  }
  at::Tensor& tensor(const std::string& name) {
    for (auto& [key, value] : tensors_) {
      if (key == name) return value;
    }
    throw std::runtime_error(name);
  }
  static Batch batch() {
    return read_batches(tiny_model() / "inputs.safetensors", {"b0.input_ids"})[0];
  }
  static at::Tensor expected() {
    return SafetensorsFile(tiny_model() / "logits.safetensors").read("fp.logits")[0];
  }

  TemporaryFolder folder_;
  nlohmann::json config_;
  Tensors tensors_;
};

TEST_F(BertTest, ReadsWhatItsConfigurationSays) {
  QuantizedNetwork network = load();
  EXPECT_EQ(network.model().vocabulary_size(), 200);
  EXPECT_EQ(network.model().max_positions(), config_["max_position_embeddings"].get<int64_t>());
  EXPECT_EQ(network.model().segments().size(), 5u);  // embeddings, three layers, head
  EXPECT_EQ(network.model().zero_outputs(batch()).at("logits").sizes(),
            (std::vector<int64_t>{8, 3}));
}

// DistilRoBERTa is a RoBERTa with six layers and one type of tokens.
TEST(Roberta, OfDistilRobertasShape) {
  const auto folder = test_data() / "models/distilroberta";
  QuantizedNetwork network(folder, "{rules: []}");
  EXPECT_EQ(network.model().segments().size(), 8u);
  const Batch batch = read_batches(folder / "inputs.safetensors", {"b4.input_ids"})[0];
  const at::Tensor golden = SafetensorsFile(folder / "logits.safetensors").read("fp.logits")[4];
  EXPECT_LE(max_difference(network.logits(batch, false, false), golden), float_tolerance(golden));
}

// BERT-large: 24 layers, 16 heads. No tensor is read.
TEST(Bert, LargeShapeHasTheSitesOfTheQualcommPaper) {
  const TemporaryFolder folder;
  folder.write("config.json", R"({"model_type": "bert", "hidden_size": 1024,
      "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
      "architectures": ["BertForSequenceClassification"]})");
  const Checkpoint checkpoint(folder.path(), WeightFiles::kOptional);
  const auto model = ModelChoice(all_plugins().models, "bert").create(checkpoint);
  int64_t weights = 0, activations = 0;
  for (const Site& site : model->sites()) {
    const bool named = std::any_of(site.published_names.begin(), site.published_names.end(),
                                   [](const auto& name) { return name.first == "qualcomm"; });
    (site.kind == SiteKind::kWeight ? weights : activations) += named;
  }
  EXPECT_EQ(weights, 8 * 24 + 6);
  EXPECT_EQ(activations, 13 * 24 + 5);
}

TEST_F(BertTest, LeavesOutRowsThatNobodyReads) {
  const at::NoGradGuard no_gradients;
  QuantizedNetwork network = load();
  const Batch tokens = batch();
  const auto last_rows = [&](const Tap& tap) {
    State state;
    const auto& segments = network.model().segments();
    const ModelInput input = network.model().bind(tokens);
    const Pass pass = network.pass(false, false, tap);
    for (size_t i = 0; i + 1 < segments.size(); ++i) segments[i].run(state, input, pass);
    return state.rows.values.size(0);
  };
  const at::Tensor few = network.logits(tokens, false, false);
  EXPECT_EQ(last_rows({}), tokens.sequences());
  const Tap tap = [](SiteId, const at::Tensor&, const at::Tensor&) {};
  EXPECT_EQ(last_rows(tap), tokens.tokens());
  // The same sums row by row, but a matrix product may order them by the number of rows.
  EXPECT_LE(max_difference(network.logits(tokens, false, false, tap), few), float_tolerance(few));
}

TEST_F(BertTest, OldNamesOfNorms) {
  for (auto& [name, value] : tensors_) {
    if (name.ends_with("LayerNorm.weight")) name.replace(name.size() - 6, 6, "gamma");
    if (name.ends_with("LayerNorm.bias")) name.replace(name.size() - 4, 4, "beta");
  }
  QuantizedNetwork network = load();
  EXPECT_LE(max_difference(network.logits(batch(), false, false), expected()),
            float_tolerance(expected()));
}

TEST_F(BertTest, HalfPrecisionIsComputedInFloat) {
  for (auto& [name, value] : tensors_) value = value.to(at::kBFloat16);
  QuantizedNetwork half = load();
  for (auto& [name, value] : tensors_) value = value.to(at::kFloat);
  QuantizedNetwork same = load();
  EXPECT_TRUE(equal_bits(half.logits(batch(), false, false), same.logits(batch(), false, false)));
}

TEST_F(BertTest, AllWrongTensorsInOneMessage) {
  tensor("bert.pooler.dense.bias") = tensor("bert.pooler.dense.weight");
  tensor("bert.encoder.layer.2.output.dense.weight")[0][0] = NAN;
  for (auto& [name, value] : tensors_) {
    if (name == "classifier.bias") name = "classifier.bais";
  }
  EXPECT_THAT(failure(), AllOf(HasSubstr("bert.pooler.dense.bias"), HasSubstr("[64, 64]"),
                               HasSubstr("bert.encoder.layer.2.output.dense.weight"),
                               HasSubstr("classifier.bias"), HasSubstr("classifier.bais")));
}

TEST_F(BertTest, ConfigurationsThatMakeNoSense) {
  const auto good = config_;
  const std::pair<const char*, nlohmann::json> changes[] = {
      {"hidden_size", 0},         {"hidden_size", 64.5},
      {"hidden_size", "64"},      {"num_attention_heads", 7},
      {"num_hidden_layers", 0},   {"num_hidden_layers", 1000000000},
      {"layer_norm_eps", -1e-12}, {"hidden_act", "unheard_of"},
      {"hidden_act", 3},          {"vocab_size", nullptr},
      {"pad_token_id", -1},       {"position_embedding_type", "relative_key"}};
  for (const auto& [key, value] : changes) {
    config_ = good;
    config_[key] = value;
    EXPECT_THAT(failure(), AllOf(HasSubstr("config.json"), HasSubstr(key))) << value.dump();
  }
}

TEST_F(BertTest, InputThatDoesNotFit) {
  QuantizedNetwork network = load();
  const auto run = [&](const TokenSequence& sequence) {
    return message_of<DataError>([&] { network.logits(pack({&sequence, 1}), false, false); });
  };
  EXPECT_THAT(run({{1, 200}, {}}), AllOf(HasSubstr("200"), HasSubstr("vocabulary")));
  EXPECT_THAT(run({{1, -5}, {}}), HasSubstr("-5"));
  EXPECT_THAT(run({std::vector<int64_t>(200, 1), {}}), HasSubstr("positions"));
  EXPECT_THAT(run({{1, 2}, {0, 2}}), HasSubstr("segment"));
}

}  // namespace
}  // namespace quell
