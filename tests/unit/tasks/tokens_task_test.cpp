#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "framework/base/error.h"
#include "framework/io/safetensors.h"
#include "support.h"
#include "tasks/data/token_file.h"

namespace quell {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

std::vector<int64_t> values(const at::Tensor& tensor) {
  return {tensor.const_data_ptr<int64_t>(), tensor.const_data_ptr<int64_t>() + tensor.numel()};
}

at::Tensor matrix(const std::vector<int64_t>& numbers, int64_t columns) {
  return at::tensor(numbers, at::kLong).reshape({-1, columns});
}

class TokensTask : public testing::Test {
 protected:
  using Tensors = std::vector<std::pair<std::string, at::Tensor>>;

  void SetUp() override {
    tensors_ = {
        {"b0.input_ids", matrix({1, 5, 6, 2, 1, 7, 2, 0}, 4)},
        {"b0.attention_mask", matrix({1, 1, 1, 1, 1, 1, 1, 0}, 4)},
        {"b0.token_type_ids", matrix({0, 0, 1, 1, 0, 0, 0, 0}, 4)},
        {"b0.labels", at::tensor({1, 0}, at::kLong)},
        {"b1.input_ids", matrix({1, 8, 2, 0}, 4).to(at::kInt)},
        {"b1.lens", at::tensor({3}, at::kInt)},
        {"b1.labels", at::tensor({1}, at::kInt)},
    };
  }
  std::unique_ptr<Task> make(const std::string& more) {
    const auto file = folder_.path() / "inputs.safetensors";
    write_safetensors(file, tensors_);
    return make_task("tokens", "{path: " + file.string() + ", " + more + "}", context_);
  }
  template <class Exception>
  std::string refusal(const std::string& more) {
    return message_of<Exception>([&] { make(more)->calibration({}, 0); });
  }
  void replace(const std::string& name, const at::Tensor& tensor) {
    for (auto& [key, value] : tensors_) {
      if (key == name) value = tensor;
    }
  }

  static Outputs second_class(const Batch& batch) {
    at::Tensor logits = at::zeros({batch.sequences(), 2});
    logits.select(1, 1).fill_(1.0);
    return {{"logits", logits}};
  }

  TemporaryFolder folder_;
  json config_ = json::object();
  TaskContext context_{nullptr, &config_, 0, 16, 10};
  Tensors tensors_;
  const std::string kBoth =
      "keys: \"b{}.input_ids\", calibration_batches: [1, 0], evaluation_batches: 0-1";
};

TEST_F(TokensTask, BatchesAreUsedAsGiven) {
  const auto task = make(kBoth);
  const auto batches = task->calibration({}, 0);
  ASSERT_EQ(batches.size(), 2u);
  EXPECT_THAT(values(batches[0].token_ids), ElementsAre(1, 8, 2));
  EXPECT_THAT(values(batches[1].token_ids), ElementsAre(1, 5, 6, 2, 1, 7, 2));
  EXPECT_THAT(values(batches[1].segment_ids), ElementsAre(0, 0, 1, 1, 0, 0, 0));
  EXPECT_THAT(batches[1].valid_lengths, ElementsAre(4, 3));
  EXPECT_THAT(values(batches[1].labels), ElementsAre(1, 0));
  EXPECT_THAT(batches[1].example_ids, ElementsAre(1, 2));
  EXPECT_THAT(task->calibration_indices(), ElementsAre(0, 1, 2));
}

TEST_F(TokensTask, PaddingIsKeptOnRequest) {
  CalibrationOptions options;
  options.padding = Padding::kKeep;
  const auto batches = make(kBoth)->calibration(options, 0);
  EXPECT_THAT(values(batches[1].token_ids), ElementsAre(1, 5, 6, 2, 1, 7, 2, 0));
  EXPECT_TRUE(batches[1].keeps_padding());
  options.padding = Padding::kDrop;
  options.pad_to = 4;
  EXPECT_EQ(make(kBoth)->calibration(options, 0)[0].pad_to, 4);
}

TEST_F(TokensTask, EvaluatesWithLabels) {
  const Evaluation evaluation = make(kBoth)->evaluate({second_class}, nullptr);
  ASSERT_EQ(evaluation.predictions.size(), 3u);
  EXPECT_EQ(evaluation.predictions[2].set, "evaluation");
  EXPECT_EQ(evaluation.predictions[2].index, 2);
  EXPECT_EQ(evaluation.predictions[2].label, 1.0);
  ASSERT_EQ(evaluation.metrics.size(), 1u);
  EXPECT_EQ(evaluation.metrics[0].first, "accuracy");
  EXPECT_DOUBLE_EQ(evaluation.metrics[0].second, 2.0 / 3.0);
  const Evaluation more =
      make(kBoth + ", metrics: [f1, matthews_correlation]")->evaluate({second_class}, nullptr);
  EXPECT_THAT(more.metrics, ElementsAre(Pair("f1", 0.8), Pair("matthews_correlation", 0.0)));
}

TEST_F(TokensTask, EvaluatesWithoutLabels) {
  const std::string one = "keys: \"x.input_ids\"";
  tensors_.push_back({"x.input_ids", matrix({1, 2, 0, 1, 3, 2}, 3)});
  const Evaluation evaluation = make(one)->evaluate({second_class}, nullptr);
  EXPECT_TRUE(evaluation.metrics.empty());
  EXPECT_EQ(evaluation.predictions.size(), 2u);
  EXPECT_FALSE(evaluation.predictions[0].label);
  EXPECT_THAT(refusal<ConfigError>(one + ", metrics: accuracy"),
              HasSubstr("not every evaluation batch has labels"));
}

TEST_F(TokensTask, OneLargeTensorIsCutIntoBatches) {
  tensors_ = {{"dev.input_ids", at::arange(1, 9).reshape({4, 2})},
              {"dev_labels", at::tensor({0, 1, 1, 1}, at::kLong)}};
  const auto task =
      make("keys: dev.input_ids, evaluation_labels: dev_labels, batch_size: 3, metrics: accuracy");
  EXPECT_THAT(task->evaluate({second_class}, nullptr).metrics, ElementsAre(Pair("accuracy", 0.75)));
  const auto batches = task->calibration({}, 0);
  ASSERT_EQ(batches.size(), 2u);
  EXPECT_THAT(values(batches[1].token_ids), ElementsAre(7, 8));
}

TEST_F(TokensTask, PaddingWithoutMasks) {
  tensors_ = {{"input_ids.0", matrix({1, 0, 2, 0, 0, 1, 2, 3, 4, 5}, 5)}};
  const std::string keys = "keys: \"input_ids.{}\", calibration_batches: 0, evaluation_batches: 0";
  EXPECT_EQ(make(keys)->calibration({}, 0)[0].tokens(), 10);
  const auto batches = make(keys + ", mask_from_padding: true")->calibration({}, 0);
  EXPECT_THAT(batches[0].valid_lengths, ElementsAre(3, 5));
}

TEST_F(TokensTask, SpansAndDecoderSide) {
  tensors_.push_back({"b0.start_positions", at::tensor({1, 0}, at::kLong)});
  tensors_.push_back({"b0.end_positions", at::tensor({2, 1}, at::kLong)});
  tensors_.push_back({"b0.decoder_input_ids", matrix({2, 3, 2, 0}, 2)});
  tensors_.push_back({"b0.decoder_attention_mask", matrix({1, 1, 1, 0}, 2)});
  const Batch batch = make(kBoth)->calibration({}, 0)[1];
  EXPECT_THAT(values(batch.start_positions), ElementsAre(1, 0));
  EXPECT_THAT(values(batch.end_positions), ElementsAre(2, 1));
  EXPECT_THAT(values(batch.decoder_token_ids), ElementsAre(2, 3, 2));
  EXPECT_THAT(batch.decoder_offsets, ElementsAre(0, 2, 3));
}

TEST_F(TokensTask, PositionsAreUsedAsGiven) {
  config_["model_type"] = "bert";
  tensors_.push_back({"b0.position_ids", matrix({5, 6, 7, 8, 3, 2, 1, 0}, 4)});
  auto batches = make(kBoth)->calibration({}, 0);
  EXPECT_THAT(values(batches[0].position_ids), ElementsAre(0, 1, 2));  // counted: b1 has none
  EXPECT_THAT(values(batches[1].position_ids), ElementsAre(5, 6, 7, 8, 3, 2, 1));
  CalibrationOptions keep;
  keep.padding = Padding::kKeep;
  EXPECT_THAT(values(make(kBoth)->calibration(keep, 0)[1].position_ids),
              ElementsAre(5, 6, 7, 8, 3, 2, 1, 0));
  keep.batch_size = 1;
  EXPECT_THAT(values(make(kBoth)->calibration(keep, 0)[2].position_ids), ElementsAre(3, 2, 1, 0));
  // One row stands for all, as in Hugging Face.
  replace("b0.position_ids", matrix({2, 3, 4, 5}, 4));
  EXPECT_THAT(values(make(kBoth)->calibration({}, 0)[1].position_ids),
              ElementsAre(2, 3, 4, 5, 2, 3, 4));
  replace("b0.position_ids", matrix({0, 1, 2, 16, 0, 0, 0, 0}, 4));
  EXPECT_THAT(refusal<DataError>(kBoth),
              HasSubstr("\"b0.position_ids\": row 0: position 16, but the model has only 0 to 15"));
  replace("b0.position_ids", matrix({0, 1, 2, 3, 4, 5}, 3));
  EXPECT_THAT(refusal<DataError>(kBoth), HasSubstr("shape [2, 3], expected [2, 4]"));
  SetUp();
  config_["model_type"] = "roberta";
  tensors_.push_back({"b0.position_ids", matrix({2, 3, 4, 5, 2, 3, 4, 1}, 4)});
  EXPECT_THAT(refusal<DataError>(kBoth),
              HasSubstr("\"b0.position_ids\": this model counts positions itself"));
}

TEST_F(TokensTask, UnknownNames) {
  const auto refused = [&](const std::string& name, const std::string& why) {
    SetUp();
    tensors_.push_back({name, matrix({1, 1, 1, 1, 1, 1, 1, 0}, 4)});
    EXPECT_THAT(refusal<DataError>(kBoth), HasSubstr(why)) << name;
  };
  refused("b0.attention_masks",
          "tensor \"b0.attention_masks\": \"attention_masks\" is not known beside "
          "token ids; did you mean \"attention_mask\"?");
  refused("b1.postion_ids", "did you mean \"position_ids\"?");
  refused("b1.label", "did you mean \"labels\"?");
  refused("b0.head_mask", "known: attention_mask, lens, ");
  refused("b0.inputs_embeds", "known: ");
  // Results of other code beside the ids are no inputs.
  SetUp();
  tensors_.push_back({"b0.logits", at::zeros({2, 2})});
  tensors_.push_back({"b0.x.attention_masks", at::zeros({2, 2})});
  tensors_.push_back({"b2.attention_masks", at::zeros({2, 2})});
  EXPECT_THAT(make(kBoth)->notes(), ElementsAre(HasSubstr("not read beside b0.input_ids: logits")));
}

TEST_F(TokensTask, BadTensors) {
  replace("b0.attention_mask", matrix({0, 1, 1, 1, 1, 1, 1, 0}, 4));
  EXPECT_THAT(refusal<DataError>(kBoth),
              HasSubstr("tensor \"b0.attention_mask\": row 0: expected real tokens first"));
  replace("b0.attention_mask", matrix({1, 1, 1, 1, 1, 1}, 3));
  EXPECT_THAT(refusal<DataError>(kBoth), HasSubstr("shape [2, 3], expected [2, 4]"));
  SetUp();
  replace("b0.input_ids", matrix({1, 5, 10, 2, 1, 7, 2, 0}, 4));
  EXPECT_THAT(refusal<DataError>(kBoth),
              HasSubstr("token id 10 at [0, 2], but the model embeds only 0 to 9"));
  replace("b0.input_ids", at::zeros({2, 4}));
  EXPECT_THAT(refusal<DataError>(kBoth), HasSubstr("holds Float, expected integers"));
  SetUp();
  replace("b1.lens", at::tensor({5}, at::kInt));
  EXPECT_THAT(refusal<DataError>(kBoth), HasSubstr("row 0: length 5, expected 1 to 4"));
  SetUp();
  replace("b0.labels", matrix({1, 2, 3, 4}, 2));
  EXPECT_THAT(refusal<DataError>(kBoth), HasSubstr("one label per sequence"));
  SetUp();
  replace("b0.labels", at::tensor({2, 0}, at::kLong));
  EXPECT_THAT(message_of<DataError>([&] { make(kBoth)->evaluate({second_class}, nullptr); }),
              HasSubstr("label 2 of sequence 0, but the model has classes 0 to 1"));
  SetUp();
  context_.max_positions = 3;
  EXPECT_THAT(refusal<DataError>(kBoth), HasSubstr("4 tokens, but the model takes at most 3"));
}

TEST_F(TokensTask, BadConfiguration) {
  EXPECT_THAT(refusal<ConfigError>("keys: \"b{}.ids\", evaluation_batches: 0"),
              HasSubstr("must contain \"input_ids\""));
  EXPECT_THAT(refusal<ConfigError>("keys: \"b{}.input_ids\""),
              HasSubstr("task.evaluation_batches: name the batches"));
  EXPECT_THAT(refusal<ConfigError>("keys: \"b{}.input_ids\", evaluation_batches: 0"),
              HasSubstr("task.calibration_batches: name the batches"));
  EXPECT_THAT(refusal<ConfigError>("keys: b0.input_ids, evaluation_batches: 0"),
              HasSubstr("have no {} for a batch"));
  EXPECT_THAT(refusal<ConfigError>(kBoth + ", metrics: [acuracy]"),
              HasSubstr("did you mean \"accuracy\""));
  EXPECT_THAT(refusal<DataError>("keys: \"b{}.input_ids\", evaluation_batches: 7"),
              HasSubstr("b7.input_ids"));
}

TEST(ExpandRanges, WritesNumbersOut) {
  EXPECT_THAT(expand_ranges({"0-3", "7", "dev-1", "9-9"}),
              ElementsAre("0", "1", "2", "3", "7", "dev-1", "9"));
  EXPECT_THROW(expand_ranges({"3-1"}), ConfigError);
}

// Every input file of the goldens can be read with one template.
TEST(TokensGoldens, CanBeRead) {
  const auto goldens = shared_folder() / "goldens";
  if (!std::filesystem::exists(goldens)) GTEST_SKIP() << "needs " << goldens;
  const json config = json::object();
  const TaskContext context{nullptr, &config, 0, 4096, 100000};
  const std::string os = (goldens / "outlier_suppression/").string();
  const auto tokens_of = [&](const std::string& yaml) {
    std::vector<int64_t> tokens;
    for (const Batch& batch : make_task("tokens", yaml, context)->calibration({}, 0)) {
      tokens.push_back(batch.tokens());
    }
    return tokens;
  };
  for (const char* name : {"bert_cls", "roberta_cls", "bert_qa", "bart_gen", "bart_cls"}) {
    const auto tokens = tokens_of("{path: " + os + name +
                                  "/inputs.safetensors, keys: "
                                  "\"b{}.input_ids\", calibration_batches: [0-3], "
                                  "evaluation_batches: [4]}");
    ASSERT_EQ(tokens.size(), 4u) << name;
    for (int64_t count : tokens) EXPECT_LT(count, 8 * 32) << name;
  }
  const std::string qualcomm = (goldens / "qualcomm/bert_s0/inputs.safetensors").string();
  EXPECT_EQ(tokens_of("{path: " + qualcomm +
                      ", calibration_keys: \"cal1.{}.input_ids\", "
                      "evaluation_keys: \"eval.{}.input_ids\", evaluation_labels: \"labels.{}\", "
                      "calibration_batches: [0-9], evaluation_batches: [0-3]}")
                .size(),
            10u);
  const std::string real = os + "real_minilm_cola_full/logits.safetensors";
  EXPECT_EQ(tokens_of("{path: " + real +
                      ", calibration_keys: \"calib.b{}.input_ids\", "
                      "evaluation_keys: dev.input_ids, evaluation_labels: dev_labels, "
                      "calibration_batches: [0-7], batch_size: 32, mask_from_padding: true}")
                .size(),
            8u);
  const std::string plus =
      (goldens / "outlier_suppression_plus/opt_s0/inputs.safetensors").string();
  EXPECT_EQ(tokens_of("{path: " + plus +
                      ", keys: \"input_ids.{}\", calibration_batches: [0-3], "
                      "evaluation_batches: [0]}")
                .size(),
            4u);
}

}  // namespace
}  // namespace quell
