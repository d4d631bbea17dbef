// Comparing tensors with goldens.
#pragma once

#include <ATen/core/Tensor.h>
#include <vector>

#include "tests/support/equal_bits.h"

namespace quell {

// The largest absolute difference of each row. A test failure, and nothing, where shapes differ.
std::vector<double> row_differences(const at::Tensor& found, const at::Tensor& golden);

// The largest absolute difference; infinite (and a test failure) where shapes differ.
double max_difference(const at::Tensor& found, const at::Tensor& golden);

double share_within(const std::vector<double>& differences, double tolerance);

// 2e-5 times the largest value: what the order of summation moves in a float network.
double float_tolerance(const at::Tensor& golden);

}  // namespace quell
