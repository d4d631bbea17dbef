#include "tests/support/compare.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <algorithm>
#include <cmath>

namespace quell {

std::vector<double> row_differences(const at::Tensor& found, const at::Tensor& golden) {
  EXPECT_EQ(found.sizes(), golden.sizes());
  if (found.sizes() != golden.sizes()) return {};
  const at::Tensor largest =
      (found.to(at::kDouble) - golden.to(at::kDouble)).abs().amax(1).contiguous();
  const double* data = largest.const_data_ptr<double>();
  return {data, data + largest.numel()};
}

double max_difference(const at::Tensor& found, const at::Tensor& golden) {
  EXPECT_EQ(found.sizes(), golden.sizes());
  if (found.sizes() != golden.sizes()) return INFINITY;
  return (found.to(at::kDouble) - golden.to(at::kDouble)).abs().max().item<double>();
}

double share_within(const std::vector<double>& differences, double tolerance) {
  const auto count = std::count_if(differences.begin(), differences.end(),
                                   [&](double difference) { return difference <= tolerance; });
  return static_cast<double>(count) / static_cast<double>(std::max<size_t>(differences.size(), 1));
}

double float_tolerance(const at::Tensor& golden) {
  return 2e-5 * std::max(1.0, golden.abs().max().item<double>());
}

}  // namespace quell
