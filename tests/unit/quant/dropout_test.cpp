#include "framework/quant/dropout.h"

#include <gtest/gtest.h>

#include <ATen/ops/ones.h>

#include "tests/support/equal_bits.h"

namespace quell {
namespace {

TEST(Dropout, DropsTheGivenShareAndKeepsTheMean) {
  Dropout dropout({.hidden = 0.1, .attention = 0.5, .head = 0}, 42);
  dropout.start_step(3);
  const at::Tensor ones = at::ones({1000, 100});
  const at::Tensor hidden = dropout.apply(DropoutPlace::kHidden, ones);
  // Four standard deviations of a share of 100,000 draws.
  EXPECT_NEAR(hidden.eq(0).to(at::kFloat).mean().item<double>(), 0.1, 0.004);
  EXPECT_NEAR(hidden.max().item<float>(), 1 / 0.9F, 1e-6F);
  const at::Tensor attention = dropout.apply(DropoutPlace::kAttention, ones);
  EXPECT_NEAR(attention.mean().item<double>(), 1, 0.013);
  EXPECT_TRUE(dropout.apply(DropoutPlace::kHead, ones).is_same(ones));
  // Rows and columns do not share fates.
  EXPECT_LT(hidden.eq(0).to(at::kFloat).mean(0).max().item<double>(), 0.16);
  EXPECT_LT(hidden.eq(0).to(at::kFloat).mean(1).max().item<double>(), 0.26);
}

TEST(Dropout, MasksDifferWithinAStepAndBetweenSteps) {
  Dropout dropout({.hidden = 0.5}, 1), again({.hidden = 0.5}, 1);
  const at::Tensor ones = at::ones({8, 8});
  dropout.start_step(0);
  const at::Tensor first = dropout.apply(DropoutPlace::kHidden, ones);
  const at::Tensor second = dropout.apply(DropoutPlace::kHidden, ones);
  dropout.start_step(1);
  const at::Tensor next = dropout.apply(DropoutPlace::kHidden, ones);
  EXPECT_FALSE(first.equal(second));
  EXPECT_FALSE(first.equal(next));
  again.start_step(1);
  EXPECT_TRUE(equal_bits(again.apply(DropoutPlace::kHidden, ones), next));
}

TEST(Dropout, GradientsPassWhereValuesDo) {
  Dropout dropout({.hidden = 0.5}, 1);
  dropout.start_step(0);
  const at::Tensor rows = at::ones({16, 4}).set_requires_grad(true);
  const at::Tensor dropped = dropout.apply(DropoutPlace::kHidden, rows);
  dropped.sum().backward();
  EXPECT_TRUE(equal_bits(rows.grad(), dropped.detach()));
}

}  // namespace
}  // namespace quell
