#include "framework/io/stored_part.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>

namespace quell {
namespace {

using testing::ElementsAre;

std::vector<int64_t> values(const at::Tensor& tensor) {
  const at::Tensor dense = tensor.contiguous();
  const int64_t* data = dense.const_data_ptr<int64_t>();
  return {data, data + dense.numel()};
}

TEST(StoredPart, IsTheWholeByDefault) {
  const at::Tensor whole = at::arange(6).view({3, 2});
  EXPECT_THAT(stored_shape({}, {3, 2}), ElementsAre(3, 2));
  EXPECT_EQ(take_part({}, whole, {3, 2}).const_data_ptr(), whole.const_data_ptr());
}

TEST(StoredPart, MayHaveRowsAndColumnsExchanged) {
  const StoredPart part{.transposed = true};
  EXPECT_THAT(stored_shape(part, {3, 2}), ElementsAre(2, 3));
  EXPECT_THAT(values(take_part(part, at::arange(6).view({2, 3}), {3, 2})),
              ElementsAre(0, 3, 1, 4, 2, 5));
}

// Two heads of one query, one key and one value row each.
TEST(StoredPart, MayBeSomeRowsOfEachGroup) {
  const StoredPart key{.of = "qkv", .groups = 2, .group_rows = 3, .first = 1};
  EXPECT_THAT(stored_shape(key, {2, 2}), ElementsAre(6, 2));
  EXPECT_THAT(values(take_part(key, at::arange(12).view({6, 2}), {2, 2})), ElementsAre(2, 3, 8, 9));
  EXPECT_THAT(values(take_part(key, at::arange(6), {2})), ElementsAre(1, 4));
}

TEST(StoredPart, MayBeColumnsOfATransposedTensor) {
  const StoredPart part{.transposed = true, .group_rows = 6, .first = 4};
  EXPECT_THAT(stored_shape(part, {2, 2}), ElementsAre(2, 6));
  EXPECT_THAT(values(take_part(part, at::arange(12).view({2, 6}), {2, 2})),
              ElementsAre(4, 10, 5, 11));
}

TEST(StoredPart, GoesBackToItsPlace) {
  for (const bool transposed : {false, true}) {
    const std::vector<int64_t> shape = {4, 3};
    const at::Tensor whole = at::arange(60).view(
        stored_shape({.transposed = transposed, .groups = 2, .group_rows = 10}, shape));
    at::Tensor copy;  // is made for the first part
    int64_t first = 0;
    for (const int64_t rows : {4, 2, 14}) {  // of both groups
      const StoredPart part{
          .transposed = transposed, .groups = 2, .group_rows = 10, .first = first};
      put_part(part, take_part(part, whole, {rows, 3}), copy);
      first += rows / 2;
    }
    EXPECT_TRUE(at::equal(copy, whole));
  }
}

}  // namespace
}  // namespace quell
