// Products with packed weights against LibTorch's linear, which repacks them in every call.
//
//   taskset -c 0 build/tests/packed_product_benchmark [--smoke]
//
// One thread. Weights take turns as the layers of a network do, 40 MB of them, so that they come
// from memory or the last-level cache (fewer of them where there are many rows). The second ratio
// is that of a product with GELU.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "framework/base/error.h"
#include "framework/base/instruction_sets.h"
#include "framework/kernels/fake_quantize.h"
#include "framework/kernels/packed_product.h"
#include "tests/benchmarks/support/paired.h"
#include "tests/benchmarks/support/program.h"

namespace quell::benchmarks {
namespace {

using kernels::Activation;

constexpr int64_t kMostOperations = 1000000000;  // of a call: some 15 ms

struct Layers {
  std::vector<at::Tensor> weights;
  std::vector<kernels::PackedWeight> packed;
  at::Tensor bias;

  Layers(int64_t outputs, int64_t inputs, int64_t bytes) {
    bias = at::randn({outputs});
    for (int64_t i = 0; i <= bytes / (4 * outputs * inputs); ++i) {
      weights.push_back(at::randn({outputs, inputs}).mul_(1 / std::sqrt(inputs)));
      packed.emplace_back(weights.back().const_data_ptr<float>(), outputs, inputs);
    }
  }
};

// The first `count` layers once, with the same input.
PairedRatio compare(const Layers& layers, size_t count, const at::Tensor& x, bool gelu,
                    const Effort& effort) {
  at::Tensor own = at::empty({x.size(0), layers.bias.size(0)}), other;
  const PairedRatio pair = measure(
      [&] {
        for (size_t i = 0; i < count; ++i) {
          kernels::packed_product(x.const_data_ptr<float>(), x.size(0), layers.packed[i],
                                  {layers.bias.const_data_ptr<float>(),
                                   gelu ? Activation::kGelu : Activation::kNone, nullptr},
                                  own.mutable_data_ptr<float>());
        }
      },
      [&] {
        for (size_t i = 0; i < count; ++i) {
          other = at::linear(x, layers.weights[i], layers.bias);
          if (gelu) at::gelu_(other);
        }
      },
      effort);
  if (!at::allclose(own, other, 1e-4, 1e-4)) throw Error("the products differ");
  return pair;
}

void measure_shape(int64_t outputs, int64_t inputs, bool smoke) {
  const Layers layers(outputs, inputs, smoke ? 0 : 40 << 20);
  const Effort effort =
      smoke ? Effort{1, 1, 0} : Effort{.least_rounds = 7, .most_rounds = 25, .seconds = 0.4};
  for (const int64_t rows : {1, 4, 8, 16, 24, 32, 64, 128, 256, 1024}) {
    if (smoke && rows > 32) break;
    const at::Tensor x = at::randn({rows, inputs});
    const int64_t operations = 2 * rows * outputs * inputs;
    const size_t count = std::clamp<size_t>(kMostOperations / operations, 1, layers.weights.size());
    const PairedRatio plain = compare(layers, count, x, false, effort);
    const PairedRatio gelu = compare(layers, count, x, true, effort);
    const double all = 1e-9 * static_cast<double>(operations) * static_cast<double>(count);
    fmt::print("{:>5} x {:>4} {:>5} {:>8.1f} {:>8.1f}   {:.2f} ({:.2f} to {:.2f})   {:.2f}\n",
               outputs, inputs, rows, all / plain.own_s, all / plain.baseline_s, plain.ratio,
               plain.low, plain.high, gelu.ratio);
    std::fflush(stdout);
  }
}

int run(int argc, char** argv) {
  const bool smoke = argc > 1 && std::string(argv[1]) == "--smoke";
  const at::NoGradGuard no_gradients;
  at::set_num_threads(1);
  fmt::print("{}; GFLOP/s of own and LibTorch, their ratio (95 % interval), the same with GELU\n",
             kernels::instruction_set());
  for (const auto& [outputs, inputs] : {std::pair<int64_t, int64_t>{384, 384},
                                        {1536, 384},
                                        {384, 1536},
                                        {768, 768},
                                        {3072, 768},
                                        {768, 3072}}) {
    measure_shape(outputs, inputs, smoke);
  }
  return 0;
}

}  // namespace
}  // namespace quell::benchmarks

int main(int argc, char** argv) {
  quell::fix_instruction_sets();
  return quell::benchmarks::guarded([&] { return quell::benchmarks::run(argc, argv); });
}
