#include "framework/quant/token_rows.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "framework/base/error.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using testing::HasSubstr;

TEST(TokenRows, EveryAxis) {
  const at::Tensor x = at::arange(2 * 3 * 4 * 5, at::kFloat).view({2, 3, 4, 5});
  for (int64_t axis = 0; axis < 4; ++axis) {
    const at::Tensor rows = token_rows(x, axis);
    EXPECT_EQ(rows.size(0), axis == 0 ? 2 : 2 * x.size(axis)) << axis;
    EXPECT_TRUE(at::equal(from_token_rows(rows, x, axis), x)) << axis;
  }
  // Token 3 of sequence 1 of [batch, heads, tokens, width]: all heads, one after another.
  EXPECT_TRUE(at::equal(token_rows(x, 2)[4 + 3], x.select(0, 1).select(1, 3).flatten()));
  EXPECT_TRUE(at::equal(token_rows(x, 3)[5 + 2], x.select(0, 1).select(2, 2).flatten()));
}

TEST(TokenRows, LengthsLeaveOutPadding) {
  const at::Tensor x = at::arange(3 * 4 * 2, at::kFloat).view({3, 4, 2});
  const at::Tensor rows = token_rows(x, 1, {1, 3});
  EXPECT_TRUE(at::equal(rows, at::cat({x[0].narrow(0, 0, 1), x[1].narrow(0, 0, 3)})));
}

TEST(TokenRows, RefusesWhatDoesNotFit) {
  const at::Tensor x = at::zeros({2, 4, 3});
  EXPECT_THAT(message_of<ConfigError>([&] { token_rows(x, 3); }), HasSubstr("[2, 4, 3]"));
  EXPECT_THAT(message_of<ConfigError>([&] { token_rows(x, 1, {4, 5}); }), HasSubstr("length 5"));
  EXPECT_THAT(message_of<ConfigError>([&] {
                token_rows(x, 1, {1, 1, 1});
              }),
              HasSubstr("3 lengths for 2 sequences"));
}

}  // namespace
}  // namespace quell
