// The kernel of framework/kernels/histogram.h against the operation whose counts it promises.
#include "framework/kernels/histogram.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/histc.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace quell {
namespace {

TEST(Histogram, CountsAsTorchHistc) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal(0, 2);
  std::vector<float> x(100000);
  for (float& value : x) value = normal(random);
  for (const kernels::Bins& bins :
       {kernels::Bins{-3, 3, 64}, kernels::Bins{0, 2.7182817f, 2048}, kernels::Bins{-0.1f, 7, 100},
        kernels::Bins{1e-3f, 1.1e-3f, 333}}) {
    // Edges of bins and their neighbours, where another order of the steps would show.
    for (int64_t k = 0; k <= bins.count; ++k) {
      const float edge = bins.low + static_cast<float>(k) *
                                        ((bins.high - bins.low) / static_cast<float>(bins.count));
      x.insert(x.end(), {edge, std::nextafter(edge, -1e9f), std::nextafter(edge, 1e9f), -edge});
    }
    x.push_back(bins.high);
    const auto size = static_cast<int64_t>(x.size());
    const at::Tensor tensor = at::from_blob(x.data(), {size}, at::kFloat);
    const auto compare = [&](const at::Tensor& of, const std::vector<int64_t>& counts) {
      const at::Tensor expected = at::histc(of, bins.count, bins.low, bins.high);
      for (int64_t bin = 0; bin < bins.count; ++bin) {
        ASSERT_EQ(static_cast<float>(counts[bin]), expected.const_data_ptr<float>()[bin])
            << "bin " << bin << " of " << bins.count;
      }
    };
    std::vector<int64_t> counts(bins.count), magnitudes(bins.count);
    kernels::add_to_histogram(x.data(), size, bins, counts.data());
    kernels::add_magnitudes_to_histogram(x.data(), size, bins, magnitudes.data());
    compare(tensor, counts);
    compare(at::abs(tensor), magnitudes);
  }
}

}  // namespace
}  // namespace quell
