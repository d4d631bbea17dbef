// Products of integer codes against LibTorch's float linear (MKL) and against the packed float
// product.
//
//   taskset -c 0 build/tests/integer_product_benchmark [--smoke] [--avx2]
//
// One thread. Of each setting of bits the routes that this processor has. Ratios are those of a
// product with bias, without and with GELU and codes for the next product.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <hwy/targets.h>
#include <cmath>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "framework/base/error.h"
#include "framework/base/instruction_sets.h"
#include "framework/kernels/integer_product.h"
#include "framework/kernels/packed_product.h"
#include "tests/benchmarks/support/paired.h"
#include "tests/benchmarks/support/program.h"

namespace quell::benchmarks {
namespace {

using kernels::Activation;

struct Shape {
  int64_t rows, outputs, inputs;
};

// Codes whose products, with their scales, are of size 1.
struct Problem {
  std::vector<uint8_t> x;
  std::vector<int8_t> w;
  std::vector<float> w_scale, bias;
  std::vector<int32_t> w_zero;
  float x_scale = 0.02f, x_zero;
  int32_t most;

  Problem(const Shape& shape, int x_bits, int w_bits)
      : x(static_cast<size_t>(shape.rows * shape.inputs)),
        w(static_cast<size_t>(shape.outputs * shape.inputs)),
        bias(static_cast<size_t>(shape.outputs), 0.1f),
        w_zero(static_cast<size_t>(shape.outputs)),
        x_zero(static_cast<float>(1 << (x_bits - 1))),
        most((1 << x_bits) - 1) {
    std::mt19937 random(1);
    for (uint8_t& code : x) code = static_cast<uint8_t>(random() % (1U << x_bits));
    for (int8_t& code : w) {
      code = static_cast<int8_t>(static_cast<int>(random() % (1U << w_bits)) - (1 << (w_bits - 1)));
    }
    const double deviation = std::ldexp(1.0, x_bits + w_bits) / 12 * std::sqrt(shape.inputs);
    w_scale.assign(static_cast<size_t>(shape.outputs),
                   static_cast<float>(1 / (deviation * x_scale)));
  }

  kernels::IntegerMatrix matrix(const Shape& shape) const {
    return {w.data(), shape.outputs, shape.inputs, w_scale.data(), w_zero.data()};
  }
};

void measure_route(const Shape& shape, const Problem& of, const std::string& bits,
                   kernels::IntegerRoute route, const Effort& effort) {
  const at::Tensor x = at::randn({shape.rows, shape.inputs}),
                   w = at::randn({shape.outputs, shape.inputs}), bias = at::randn({shape.outputs});
  const kernels::PackedWeight packed(w.const_data_ptr<float>(), shape.outputs, shape.inputs);
  const kernels::IntegerWeight weight(of.matrix(shape), of.most, route);
  const kernels::IntegerRows rows{of.x.data(), shape.rows, &of.x_scale, &of.x_zero};
  at::Tensor y = at::empty({shape.rows, shape.outputs}), other;
  const at::Tensor codes = at::empty({shape.rows, shape.outputs}, at::kByte);
  const auto integers = [&] {
    kernels::integer_product(rows, weight, {of.bias.data()}, {.y = y.mutable_data_ptr<float>()});
  };
  const auto with_gelu = [&] {
    kernels::integer_product(rows, weight, {of.bias.data(), Activation::kGelu},
                             {.y = y.mutable_data_ptr<float>(),
                              .codes = codes.mutable_data_ptr<uint8_t>(),
                              .grid = {0.02f, 10, 255}});
  };
  const auto in_float = [&](Activation activation) {
    return [&, activation] {
      kernels::packed_product(x.const_data_ptr<float>(), shape.rows, packed,
                              {bias.const_data_ptr<float>(), activation, nullptr},
                              y.mutable_data_ptr<float>());
    };
  };
  // Of weights that are unpacked from 4 or 6 bits, to those of bytes.
  const kernels::IntegerWeight narrow(of.matrix(shape), of.most, route,
                                      kernels::CodeStorage::kFewestBits);
  const auto unpacked = [&] {
    kernels::integer_product(rows, narrow, {of.bias.data()}, {.y = y.mutable_data_ptr<float>()});
  };
  const PairedRatio bytes = measure(unpacked, integers, effort);
  const PairedRatio mkl = measure(
      integers, [&] { other = at::linear(x, w, bias); }, effort);
  const PairedRatio own = measure(integers, in_float(Activation::kNone), effort);
  const PairedRatio gelu = measure(with_gelu, in_float(Activation::kGelu), effort);
  const double operations = 2e-9 * static_cast<double>(shape.rows * shape.outputs * shape.inputs);
  fmt::print("{:>5} x {:>4} x {:>4}  {:<6} {:<6} {:>8.0f} {:>8.2f} {:>8.2f} {:>8.2f} {:>8.2f}\n",
             shape.rows, shape.inputs, shape.outputs, bits, kernels::to_string(route),
             operations / own.own_s, mkl.ratio, own.ratio, gelu.ratio, bytes.ratio);
  std::fflush(stdout);
}

int run(int argc, char** argv) {
  bool smoke = false, avx2 = false;
  for (int i = 1; i < argc; ++i) {
    smoke |= std::string(argv[i]) == "--smoke";
    avx2 |= std::string(argv[i]) == "--avx2";
  }
  if (avx2) hwy::DisableTargets(~(HWY_AVX2 | HWY_SCALAR));
  const at::NoGradGuard no_gradients;
  at::set_num_threads(1);
  fmt::print(
      "{}; GOP/s, then the ratios to LibTorch's linear, to the packed float product, to "
      "that with GELU, and of weights in as few bits as they take to those of bytes\n",
      kernels::integer_instruction_set());
  const Effort effort =
      smoke ? Effort{1, 1, 0} : Effort{.least_rounds = 7, .most_rounds = 15, .seconds = 0.2};
  for (const Shape& shape : {Shape{1024, 384, 384}, Shape{1024, 1536, 384}, Shape{1024, 384, 1536},
                             Shape{1024, 3072, 768}, Shape{25, 1536, 384}, Shape{1, 1536, 384}}) {
    if (smoke && shape.rows > 32) continue;
    for (const auto& [x_bits, w_bits] :
         {std::pair(8, 8), std::pair(8, 7), std::pair(6, 6), std::pair(8, 4)}) {
      const Problem of(shape, x_bits, w_bits);
      for (const auto route : kernels::IntegerWeight::routes(of.matrix(shape), of.most)) {
        measure_route(shape, of, fmt::format("{} x {}", x_bits, w_bits), route, effort);
      }
    }
  }
  return 0;
}

}  // namespace
}  // namespace quell::benchmarks

int main(int argc, char** argv) {
  quell::fix_instruction_sets();
  return quell::benchmarks::guarded([&] { return quell::benchmarks::run(argc, argv); });
}
