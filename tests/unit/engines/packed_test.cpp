// The engine of packed weights against LibTorch's products.

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/relu.h>
#include <gtest/gtest.h>
#include <thread>
#include <vector>

#include "tests/support/engine.h"

namespace quell {
namespace {

// |difference| <= (inputs + 2) * 2^-24 * sum |x w| for either side, here with normal values.
double bound(const at::Tensor& rows, const at::Tensor& weight) {
  const double inputs = static_cast<double>(weight.size(1));
  const at::Tensor sums = at::linear(rows.abs().to(at::kDouble), weight.abs().to(at::kDouble));
  return 2 * (inputs + 2) * std::ldexp(1.0, -24) * sums.max().item<double>();
}

double difference(const at::Tensor& left, const at::Tensor& right) {
  return (left - right).abs().max().item<double>();
}

at::Tensor linear(const Engine& engine, const at::Tensor& rows, const at::Tensor& weight,
                  const at::Tensor& bias,
                  kernels::Activation activation = kernels::Activation::kNone) {
  return engine
      .linear({.rows = Rows{rows}, .weight = weight, .bias = bias, .activation = activation})
      .values;
}

TEST(Packed, GivesTheProductsOfLibTorch) {
  const at::NoGradGuard no_gradients;
  const auto engine = make_engine("packed");
  for (const auto& [rows, outputs, inputs] :
       {std::tuple(1, 2, 3), std::tuple(7, 384, 384), std::tuple(33, 100, 1536)}) {
    const at::Tensor x = at::randn({rows, inputs}), weight = at::randn({outputs, inputs}),
                     bias = at::randn({outputs});
    EXPECT_LE(difference(linear(*engine, x, weight, bias), at::linear(x, weight, bias)),
              bound(x, weight) + 1e-6);
    EXPECT_LE(difference(linear(*engine, x, weight, {}), at::linear(x, weight)), bound(x, weight));
  }
}

TEST(Packed, ComputesActivationsAlong) {
  const at::NoGradGuard no_gradients;
  const auto engine = make_engine("packed");
  const at::Tensor x = at::randn({9, 48}), weight = at::randn({33, 48}), bias = at::randn({33});
  const at::Tensor sums = linear(*engine, x, weight, bias);
  using kernels::Activation;
  EXPECT_LE(difference(linear(*engine, x, weight, bias, Activation::kGelu), at::gelu(sums)), 1e-5);
  EXPECT_LE(
      difference(linear(*engine, x, weight, bias, Activation::kGeluTanh), at::gelu(sums, "tanh")),
      1e-5);
  EXPECT_TRUE(linear(*engine, x, weight, bias, Activation::kRelu).equal(at::relu(sums)));
}

// Values of size 1 or so, sums of at most 64 of them: each side is some 1e-6 off.
TEST(Packed, AttendsAsLibTorch) {
  const at::NoGradGuard no_gradients;
  const auto engine = make_engine("packed");
  AttentionSpans spans{{0, 1, 20, 20, 24}, {0, 1, 20, 23, 50}, {1, 17, 3, 27}};
  for (const bool causal : {false, true}) {
    for (const int64_t key_heads : {6, 2}) {
      spans.causal = causal;
      AttentionShape shape{.heads = 6, .key_heads = key_heads, .divisor = 4};
      if (causal) shape.slopes = {1, 0.5, 0.25, 0.125, 0.0625, 0.03125};
      const AttentionLayout layout(std::make_shared<AttentionSpans>(spans), shape, false);
      // Rows that are parts of wider ones, as those of a fused projection are.
      const at::Tensor query = at::randn({24, 200}).narrow(1, 3, 96);
      const at::Tensor key = at::randn({50, 16 * key_heads});
      const at::Tensor value = at::randn({50, 16 * key_heads});
      const at::Tensor expected = attention_context(
          layout, attention_probs(layout, attention_scores(layout, query, key)), value);
      EXPECT_LE(
          difference(engine->attention(spans, shape, {query}, {key}, {value}).values, expected),
          1e-5);
    }
  }
}

TEST(Packed, NormalizesAsLibTorch) {
  const at::NoGradGuard no_gradients;
  const auto engine = make_engine("packed");
  const at::Tensor rows = at::randn({7, 100}), added = at::randn({7, 100});
  Norm norm;
  norm.weight = at::randn({100});
  norm.epsilon = 1e-5;
  for (const bool has_bias : {false, true}) {
    if (has_bias) norm.bias = at::randn({100});
    const auto expected = [&](const at::Tensor& x) {
      return at::layer_norm(x, {100}, norm.weight, norm.bias, norm.epsilon);
    };
    EXPECT_LE(difference(engine->norm(norm, norm.weight, rows, {}), expected(rows)), 1e-5);
    EXPECT_LE(difference(engine->norm(norm, norm.weight, rows, added), expected(rows + added)),
              1e-5);
  }
}

TEST(Packed, RowsDoNotDependOnTheirCompany) {
  const at::NoGradGuard no_gradients;
  const auto engine = make_engine("packed");
  const at::Tensor x = at::randn({19, 384}), weight = at::randn({384, 384});
  const at::Tensor together = linear(*engine, x, weight, {});
  std::vector<at::Tensor> alone;
  for (int64_t i = 0; i < x.size(0); ++i) {
    alone.push_back(linear(*engine, x.narrow(0, i, 1), weight, {}));
  }
  EXPECT_TRUE(at::cat(alone).equal(together));
}

TEST(Packed, SeesWhatBecomesOfAWeight) {
  const at::NoGradGuard no_gradients;
  const auto engine = make_engine("packed");
  const at::Tensor x = at::randn({3, 16});
  at::Tensor weight = at::randn({16, 16});
  const at::Tensor before = linear(*engine, x, weight, {});
  weight.mul_(2);
  EXPECT_TRUE(linear(*engine, x, weight, {}).equal(before * 2));
  const int64_t bytes = engine->bytes();
  for (int i = 0; i < 5; ++i) {  // weights that come and go, in the same memory or elsewhere
    weight = at::randn({16, 16});
    EXPECT_LE(difference(linear(*engine, x, weight, {}), at::linear(x, weight)), bound(x, weight));
  }
  EXPECT_LE(engine->bytes(), 2 * bytes) << "those that are gone are forgotten";
}

TEST(Packed, ServesSeveralThreads) {
  const auto engine = make_engine("packed");
  const at::Tensor x = at::randn({5, 64}), weight = at::randn({64, 64});
  std::vector<at::Tensor> results(8);
  std::vector<std::thread> threads;
  for (at::Tensor& result : results) {
    threads.emplace_back([&] {
      const at::NoGradGuard no_gradients;
      result = linear(*engine, x, weight, {});
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const at::Tensor& result : results) EXPECT_TRUE(result.equal(results[0]));
}

}  // namespace
}  // namespace quell
