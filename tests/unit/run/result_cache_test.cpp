#include "framework/run/result_cache.h"

#include <ATen/ops/arange.h>
#include <gmock/gmock.h>
#include <cmath>
#include <limits>

#include "framework/base/file.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class ResultCacheTest : public testing::Test {
 protected:
  fs::path only_entry() const {
    const fs::directory_iterator entries(folder_ / "cache");
    return entries->path();
  }

  TemporaryFolder folder_;
  ResultCache cache_{folder_ / "cache"};
};

TEST_F(ResultCacheTest, EvaluationsComeBackToTheBit) {
  const float infinity = std::numeric_limits<float>::infinity();
  Evaluation evaluation;
  evaluation.metrics = {{"f1", 1.0 / 3}, {"correlation", std::nan("")}};
  evaluation.predictions = {
      {"dev", 7, 2.0, {{"logits", {0.1f, -infinity, std::nanf("")}}}, "id-1", "caf\xc3\xa9 \xff"},
      {"dev", 8, std::nullopt, {{"logits", {}}}}};
  evaluation.predictions[1].more_texts = {"", "b \xff"};
  evaluation.predictions[1].nbest = {{"c", {{"score", 0.1f}}}, {"\xff", {{"score", -infinity}}}};
  cache_.keep("origin", evaluation);
  EXPECT_FALSE(cache_.evaluation("another origin"));
  const auto found = cache_.evaluation("origin");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->metrics[0], evaluation.metrics[0]);
  EXPECT_EQ(found->metrics[1].first, "correlation");
  EXPECT_TRUE(std::isnan(found->metrics[1].second));
  ASSERT_EQ(found->predictions.size(), 2u);
  const Prediction& first = found->predictions[0];
  EXPECT_EQ(first.set, "dev");
  EXPECT_EQ(first.index, 7);
  EXPECT_EQ(first.label, 2.0);
  EXPECT_EQ(first.id, "id-1");
  EXPECT_EQ(first.text, "caf\xc3\xa9 \xff");
  EXPECT_EQ(first.outputs.at("logits")[0], 0.1f);
  EXPECT_EQ(first.outputs.at("logits")[1], -infinity);
  EXPECT_TRUE(std::isnan(first.outputs.at("logits")[2]));
  EXPECT_FALSE(found->predictions[1].label);
  EXPECT_FALSE(found->predictions[1].text);
  EXPECT_TRUE(found->predictions[1].outputs.at("logits").empty());
  EXPECT_TRUE(first.more_texts.empty() && first.nbest.empty());
  EXPECT_EQ(found->predictions[1].more_texts, evaluation.predictions[1].more_texts);
  ASSERT_EQ(found->predictions[1].nbest.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(found->predictions[1].nbest[i].text, evaluation.predictions[1].nbest[i].text);
    EXPECT_EQ(found->predictions[1].nbest[i].numbers, evaluation.predictions[1].nbest[i].numbers);
  }
}

TEST_F(ResultCacheTest, ADamagedEntryIsNamed) {
  cache_.keep("origin", Evaluation{});
  const std::string content = read_file(only_entry());
  write_file(only_entry(), content.substr(0, content.size() / 2));
  const std::string message = message_of<DataError>([&] { cache_.evaluation("origin"); });
  EXPECT_THAT(message, HasSubstr(only_entry().string()));
  EXPECT_THAT(message, HasSubstr("delete the file"));
}

TEST_F(ResultCacheTest, TensorsComeBack) {
  const at::Tensor values = at::arange(6, at::kFloat).view({2, 3});
  cache_.keep("origin", NamedTensors{{"a", values}});
  const auto found = cache_.tensors("origin");
  ASSERT_TRUE(found);
  EXPECT_TRUE(found->at("a").equal(values));
  EXPECT_FALSE(cache_.tensors("another"));
}

TEST_F(ResultCacheTest, TextsAreWrittenOncePerBatch) {
  int calls = 0;
  const Generate generate = [&](const Batch& batch, const GenerationOptions&) {
    ++calls;
    return std::vector<GeneratedSequence>{{{1, batch.token_ids[0].item<int64_t>()}, -0.1}};
  };
  const TokenSequence five{{5, 6}, {}}, seven{{7, 6}, {}};
  const Batch one = pack(std::vector{five}), other = pack(std::vector{seven});
  const Generate cached = cache_.cached("origin", generate);
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(cached(one, {})[0].ids, (std::vector<int64_t>{1, 5}));
    EXPECT_EQ(cached(other, {})[0].ids, (std::vector<int64_t>{1, 7}));
    EXPECT_EQ(cached(other, {})[0].score, -0.1);
  }
  EXPECT_EQ(calls, 2);
  cache_.cached("another origin", generate)(one, {});
  EXPECT_EQ(calls, 3);
}

TEST_F(ResultCacheTest, ProgressIsCopied) {
  const fs::path file = folder_ / "run/0-step.safetensors";
  cache_.fetch_progress("origin", file);
  EXPECT_FALSE(fs::exists(file)) << "nothing is there yet";
  cache_.keep_progress("origin", file);
  EXPECT_FALSE(fs::exists(folder_ / "cache")) << "the step stored nothing";
  cache_.keep_progress("origin", folder_.write("end", "the end"));
  cache_.fetch_progress("origin", file);
  EXPECT_EQ(read_file(file), "the end");
}

TEST(ResultCache, WithoutFolderKeepsNothing) {
  const ResultCache cache;
  cache.keep("origin", Evaluation{});
  EXPECT_FALSE(cache.enabled());
  EXPECT_FALSE(cache.evaluation("origin"));
}

}  // namespace
}  // namespace quell
