// Batches of training and losses.
#include <gmock/gmock.h>

#include <ATen/ops/tensor.h>
#include <cmath>

#include "framework/base/error.h"
#include "framework/train/batches.h"
#include "framework/train/loss.h"

namespace quell {
namespace {

using testing::ElementsAre;

// Ten examples of one token each, whose id is ten times the position.
class TenExamples final : public TrainingData {
 public:
  int64_t examples() override { return 10; }
  Batch batch(std::span<const int64_t> positions) override {
    std::vector<TokenSequence> sequences;
    for (const int64_t position : positions) sequences.push_back({{10 * position}, {0}});
    Batch batch = pack(sequences);
    batch.example_ids.assign(positions.begin(), positions.end());
    return batch;
  }
  int64_t batch_size() const override { return 4; }
};

std::vector<int64_t> epoch(TrainingBatches& batches, int64_t number) {
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < batches.per_epoch(); ++i) {
    const Batch batch = batches.at(number * batches.per_epoch() + i);
    const int64_t* tokens = batch.token_ids.const_data_ptr<int64_t>();
    for (int64_t row = 0; row < batch.tokens(); ++row) ids.push_back(tokens[row] / 10);
  }
  return ids;
}

TEST(TrainingBatches, EveryEpochHasAllExamplesInAnotherOrder) {
  TenExamples data;
  TrainingBatches batches(data, 0, 0, 42);
  EXPECT_EQ(batches.per_epoch(), 3);
  const auto first = epoch(batches, 0), second = epoch(batches, 1);
  EXPECT_NE(first, second);
  for (auto ids : {first, second}) {
    std::sort(ids.begin(), ids.end());
    EXPECT_THAT(ids, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
  }
  // Whatever was asked before: a resumed run sees the same batches.
  TrainingBatches other(data, 0, 0, 42);
  EXPECT_EQ(epoch(other, 1), second);
  EXPECT_EQ(epoch(batches, 0), first);
  TrainingBatches seeded(data, 0, 0, 43);
  EXPECT_NE(epoch(seeded, 0), first);
}

TEST(TrainingBatches, TheSameSamplesInEveryEpoch) {
  TenExamples data;
  TrainingBatches batches(data, 5, 2, 42);
  EXPECT_EQ(batches.per_epoch(), 3);
  EXPECT_EQ(batches.examples(), 5);
  auto first = epoch(batches, 0), second = epoch(batches, 1);
  std::sort(first.begin(), first.end());
  std::sort(second.begin(), second.end());
  EXPECT_EQ(first.size(), 5u);
  EXPECT_EQ(first, second);
  EXPECT_THROW(TrainingBatches(data, 11, 2, 42), ConfigError);
}

TEST(TrainingBatches, GivenBatchesStayAsTheyAre) {
  TenExamples data;
  const std::vector<Batch> given = {data.batch(std::vector<int64_t>{3, 1}),
                                    data.batch(std::vector<int64_t>{2})};
  TrainingBatches batches(given);
  EXPECT_THAT(epoch(batches, 0), ElementsAre(3, 1, 2));
  EXPECT_THAT(epoch(batches, 5), ElementsAre(3, 1, 2));
  EXPECT_THAT(batches.at(1).example_ids, ElementsAre(2));
  EXPECT_EQ(batches.examples(), 3);
  EXPECT_THROW(TrainingBatches(std::span<const Batch>()), ConfigError);
}

Batch labelled(const at::Tensor& labels) {
  Batch batch;
  batch.labels = labels;
  return batch;
}

TEST(TaskLoss, CrossEntropyOfClassesAndSquaredErrorOfScores) {
  const Outputs two = {{"logits", at::tensor({0.0F, 0.0F, 1.0F, 3.0F}).view({2, 2})}};
  const double expected = (std::log(2.0) + std::log(1 + std::exp(2.0))) / 2;
  EXPECT_NEAR(task_loss(two, labelled(at::tensor({1, 0}, at::kLong))).item<double>(), expected,
              1e-6);
  const Outputs one = {{"logits", at::tensor({1.0F, 3.0F}).view({2, 1})}};
  EXPECT_NEAR(task_loss(one, labelled(at::tensor({0.0F, 5.0F}))).item<double>(), 2.5, 1e-6);
}

TEST(ClampedScores, HaveNoGradientOutside) {
  at::Tensor scores = at::tensor({-1.0F, 2.0F, 6.0F}).requires_grad_(true);
  const at::Tensor cut = clamped_scores(scores);
  EXPECT_TRUE(cut.equal(at::tensor({0.0F, 2.0F, 5.0F})));
  cut.sum().backward();
  EXPECT_TRUE(scores.grad().equal(at::tensor({0.0F, 1.0F, 0.0F})));
}

TEST(TaskLoss, RefusesWhatDoesNotFit) {
  const Outputs two = {{"logits", at::tensor({0.0F, 0.0F}).view({1, 2})}};
  EXPECT_THROW(task_loss(two, Batch{}), DataError);
  EXPECT_THROW(task_loss(two, labelled(at::tensor({2}, at::kLong))), DataError);
  EXPECT_THROW(task_loss(two, labelled(at::tensor({-1}, at::kLong))), DataError);
  EXPECT_THROW(task_loss(two, labelled(at::tensor({0.5F}))), DataError);
}

TEST(TaskLoss, CrossEntropyOfPositionsWithinEachSequence) {
  Batch batch;
  batch.offsets = {0, 2, 5};
  batch.start_positions = at::tensor({1, 0}, at::kLong);
  batch.end_positions = at::tensor({1, 2}, at::kLong);
  const Outputs outputs = {{"start_logits", at::tensor({0.0F, 0.0F, 1.0F, 1.0F, 1.0F})},
                           {"end_logits", at::tensor({0.0F, 2.0F, 5.0F, 5.0F, 5.0F})}};
  const double start = (std::log(2.0) + std::log(3.0)) / 2;
  const double end = (std::log(1 + std::exp(-2.0)) + std::log(3.0)) / 2;
  EXPECT_NEAR(task_loss(outputs, batch).item<double>(), (start + end) / 2, 1e-6);
  batch.end_positions = at::tensor({2, 2}, at::kLong);  // the first sequence has two tokens
  EXPECT_THROW(task_loss(outputs, batch), DataError);
  batch.end_positions = at::Tensor();
  EXPECT_THROW(task_loss(outputs, batch), DataError);
}

TEST(DistillationLoss, IsTheDivergenceOfSoftenedProbabilities) {
  const Outputs student = {{"logits", at::tensor({0.0F, 2.0F}).view({1, 2})}};
  const Outputs teacher = {{"logits", at::tensor({2.0F, 0.0F}).view({1, 2})}};
  const double temperature = 2;
  const double share = 1 / (1 + std::exp(-1.0));  // of the teacher's first class
  const double divergence = share * 1 + (1 - share) * -1;
  EXPECT_NEAR(distillation_loss(student, teacher, temperature).item<double>(), 4 * divergence,
              1e-6);
  EXPECT_NEAR(distillation_loss(teacher, teacher, temperature).item<double>(), 0, 1e-6);
  const Outputs low = {{"logits", at::tensor({1.0F}).view({1, 1})}};
  const Outputs high = {{"logits", at::tensor({3.0F}).view({1, 1})}};
  EXPECT_NEAR(distillation_loss(low, high, temperature).item<double>(), 4, 1e-6);
}

}  // namespace
}  // namespace quell
