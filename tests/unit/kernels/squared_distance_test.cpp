// Squared distances against a plain sum in double precision.
#include "framework/kernels/squared_distance.h"

#include "tests/unit/kernels/support.h"

namespace quell::kernels {
namespace {

TEST(SquaredDistance, IsThePlainSumOfBlocks) {
  constexpr int64_t kStride = 70, kRows = 5;
  const std::vector<float> a = normal_values(kStride * kRows, 100, 7);
  const std::vector<float> b = normal_values(kStride * kRows, 3, 5, 1);
  for (const int64_t columns : {1, 7, 8, 9, 16, 64, 70}) {
    double first = 0;
    std::vector<double> rows(kRows), outputs(static_cast<size_t>(columns));
    add_squared_distances({a.data(), kStride}, {b.data(), kStride}, kRows, columns, rows.data(),
                          outputs.data());
    double by_row = 0, by_column = 0;
    for (const double sum : rows) by_row += sum;
    for (const double sum : outputs) by_column += sum;
    bool is_first = true;
    on_every_instruction_set([&] {
      const double found =
          squared_distance({a.data(), kStride}, {b.data(), kStride}, kRows, columns);
      double expected = 0;
      for (int64_t row = 0; row < kRows; ++row) {
        for (int64_t column = 0; column < columns; ++column) {
          const auto i = static_cast<size_t>(row * kStride + column);
          const auto difference = static_cast<double>(a[i] - b[i]);
          expected += difference * difference;
        }
      }
      // Sums of at most 350 terms in double precision.
      EXPECT_NEAR(found / expected, 1, 1e-13);
      EXPECT_NEAR(by_row / expected, 1, 1e-13);
      EXPECT_NEAR(by_column / expected, 1, 1e-13);
      if (!is_first) {
        EXPECT_EQ(found, first);
      }
      first = found;
      is_first = false;
    });
  }
}

}  // namespace
}  // namespace quell::kernels
