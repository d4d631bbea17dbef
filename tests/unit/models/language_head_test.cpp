// The head of language models: what it computes at once.
#include "models/blocks/language_head.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <cmath>

namespace quell {
namespace {

using testing::ElementsAre;

TEST(LanguageHead, ScoresSomeRowsAfterAnother) {
  constexpr int64_t kVocabulary = int64_t{1} << 23;  // two rows of logits are 64 MiB
  std::vector<Site> sites;
  ModelBuilder builder([&](Site site) {
    sites.push_back(std::move(site));
    return static_cast<SiteId>(sites.size() - 1);
  });
  Segment segment;
  builder.enter({&segment});
  LanguageHead head(LanguageHeadOptions{});
  head.declare({/*hidden=*/1, /*labels=*/0, kVocabulary}, builder);
  at::Tensor& table = *segment.tensors.front().place;
  table = at::zeros({kVocabulary, 1});
  table[1][0] = 1;

  SitePoints points(sites);
  std::vector<int64_t> rows;
  const Pass pass(points, {.inputs = [&](const Operand&, const Rows& read) {
                    rows.push_back(read.values.size(0));
                  }});
  ModelInput input;
  input.batch.scored_ids = at::tensor(std::vector<int64_t>{0, 1, -1, 1, -1, 2, 1}, at::kLong);
  input.scored_ids = input.batch.scored_ids;
  const at::Tensor hidden = at::arange(7, at::kFloat).unsqueeze(1);
  const at::NoGradGuard no_gradients;
  input.batch.scores_best = true;
  const Outputs outputs = head.run({hidden}, input, pass);
  const at::Tensor found = outputs.at("log_likelihood"), best = outputs.at("best_log_likelihood");
  EXPECT_THAT(rows, ElementsAre(2, 2, 1));
  for (int64_t i = 0; i < 7; ++i) {
    // One logit is i, all others are 0.
    const double sum = static_cast<double>(kVocabulary - 1) + std::exp(static_cast<double>(i));
    const int64_t id = input.batch.scored_ids[i].item<int64_t>();
    const double expected = id < 0 ? 0 : (id == 1 ? static_cast<double>(i) : 0) - std::log(sum);
    EXPECT_NEAR(found[i].item<double>(), expected, 1e-5) << i;
    const double largest = id < 0 ? 0 : static_cast<double>(i) - std::log(sum);
    EXPECT_NEAR(best[i].item<double>(), largest, 1e-5) << i;
  }
}

}  // namespace
}  // namespace quell
