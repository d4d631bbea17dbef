// The engine of packed weights against LibTorch's products.
#include "framework/model/packed_engine.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>
#include <thread>
#include <vector>

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

TEST(PackedEngine, GivesTheProductsOfLibTorch) {
  const at::NoGradGuard no_gradients;
  const PackedEngine engine;
  for (const auto& [rows, outputs, inputs] :
       {std::tuple(1, 2, 3), std::tuple(7, 384, 384), std::tuple(33, 100, 1536)}) {
    const at::Tensor x = at::randn({rows, inputs}), weight = at::randn({outputs, inputs}),
                     bias = at::randn({outputs});
    EXPECT_LE(difference(engine.linear(x, weight, bias), at::linear(x, weight, bias)),
              bound(x, weight) + 1e-6);
    EXPECT_LE(difference(engine.linear(x, weight, {}), at::linear(x, weight)), bound(x, weight));
  }
}

TEST(PackedEngine, RowsDoNotDependOnTheirCompany) {
  const at::NoGradGuard no_gradients;
  const PackedEngine engine;
  const at::Tensor x = at::randn({19, 384}), weight = at::randn({384, 384});
  const at::Tensor together = engine.linear(x, weight, {});
  std::vector<at::Tensor> alone;
  for (int64_t i = 0; i < x.size(0); ++i) {
    alone.push_back(engine.linear(x.narrow(0, i, 1), weight, {}));
  }
  EXPECT_TRUE(at::cat(alone).equal(together));
}

TEST(PackedEngine, SeesWhatBecomesOfAWeight) {
  const at::NoGradGuard no_gradients;
  const PackedEngine engine;
  const at::Tensor x = at::randn({3, 16});
  at::Tensor weight = at::randn({16, 16});
  const at::Tensor before = engine.linear(x, weight, {});
  weight.mul_(2);
  EXPECT_TRUE(engine.linear(x, weight, {}).equal(before * 2));
  const int64_t bytes = engine.bytes();
  for (int i = 0; i < 5; ++i) {  // weights that come and go, in the same memory or elsewhere
    weight = at::randn({16, 16});
    EXPECT_LE(difference(engine.linear(x, weight, {}), at::linear(x, weight)), bound(x, weight));
  }
  EXPECT_LE(engine.bytes(), 2 * bytes) << "those that are gone are forgotten";
}

TEST(PackedEngine, ServesSeveralThreads) {
  const PackedEngine engine;
  const at::Tensor x = at::randn({5, 64}), weight = at::randn({64, 64});
  std::vector<at::Tensor> results(8);
  std::vector<std::thread> threads;
  for (at::Tensor& result : results) {
    threads.emplace_back([&] {
      const at::NoGradGuard no_gradients;
      result = engine.linear(x, weight, {});
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const at::Tensor& result : results) EXPECT_TRUE(result.equal(results[0]));
}

}  // namespace
}  // namespace quell
