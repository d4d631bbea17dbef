// What is special about single observers. Numbers of the published code: tests/parity.
#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <cmath>

#include "framework/base/error.h"
#include "framework/plugin/registry.h"
#include "framework/quant/token_range_observer.h"

namespace quell {
namespace {

const Plugins& plugins() {
  static const auto all = [] {
    auto made = std::make_unique<Plugins>();
    register_all_plugins(*made);
    return made;
  }();
  return *all;
}

std::unique_ptr<Observer> make(const std::string& name, const QuantSpec& spec) {
  const auto& entry = plugins().observers.get(name);
  return entry.create(entry.params().make().get(), spec);
}

QuantSpec per_tensor(int bits, bool symmetric = false) {
  QuantSpec spec;
  spec.bits = bits;
  spec.symmetric = symmetric;
  return spec;
}

QuantSpec per_row(int bits, bool symmetric) {
  QuantSpec spec = per_tensor(bits, symmetric);
  spec.granularity = Granularity::kChannel;
  spec.is_weight = true;
  return spec;
}

std::pair<float, float> bounds(const Range& range) {
  return {range.min.item<float>(), range.max.item<float>()};
}

std::pair<float, float> after(Observer& observer, std::initializer_list<at::Tensor> batches) {
  for (const at::Tensor& rows : batches) observer.observe(rows);
  return bounds(observer.range());
}

double error_within(const Range& range, const at::Tensor& rows, const QuantSpec& spec) {
  const at::Tensor y = fake_quantize(rows, parameters_from_range(range, spec), spec, false);
  return (y - rows).to(at::kDouble).square().mean().item<double>();
}

const std::string kSearches[] = {"mse", "avg_mse", "mse_fast", "avg_mse_fast"};

TEST(PruneMinMax, EveryRatioFollowsFromOnePass) {
  at::manual_seed(3);
  const auto once = make("prune_minmax", per_tensor(6));
  auto& tokens = dynamic_cast<TokenRangeObserver&>(*once);
  const at::Tensor first = at::randn({40, 7}) * 3, second = at::randn({23, 7});
  after(*once, {first, second});
  for (const double ratio : {1.0, 0.9, 0.5, 0.1}) {
    tokens.set_ratio(ratio);
    const auto anew = make("prune_minmax", per_tensor(6));
    dynamic_cast<TokenRangeObserver&>(*anew).set_ratio(ratio);
    EXPECT_EQ(bounds(once->range()), after(*anew, {first, second})) << ratio;
  }
  once->reset();
  EXPECT_THROW(once->range(), Error);
  EXPECT_THROW(tokens.set_ratio(0), Error);
  EXPECT_THROW(tokens.set_ratio(1.5), Error);
}

TEST(PruneMinMax, CutsTheTokensBeyondTheQuantile) {
  // Ten tokens whose largest values are 0..9, their smallest 0.
  at::Tensor rows = at::zeros({10, 2});
  rows.select(1, 0).copy_(at::arange(10));
  const auto observer = make("prune_minmax", per_tensor(8));
  observer->observe(rows);
  auto& tokens = dynamic_cast<TokenRangeObserver&>(*observer);
  EXPECT_EQ(bounds(observer->range()), std::pair(0.0f, 9.0f));
  tokens.set_ratio(0.9);  // rank 8.1: no token has 8.1, so the bound is that of the token below
  EXPECT_EQ(bounds(observer->range()), std::pair(0.0f, 8.0f));
}

TEST(PruneMinMax, WithoutCuttingItIsTheMeanOfExtremes) {
  at::manual_seed(4);
  const at::Tensor first = at::randn({12, 5}), second = at::randn({9, 5}),
                   third = at::randn({4, 5});
  EXPECT_EQ(after(*make("prune_minmax", per_tensor(8)), {first, second, third}),
            after(*make("avg_minmax", per_tensor(8)), {first, second, third}));
}

TEST(Searches, TheFirstBatchDecidesTheSide) {
  const at::Tensor positive = at::rand({20, 4}), both = at::randn({20, 4});
  for (const std::string& name : kSearches) {
    const auto observer = make(name, per_tensor(4));
    EXPECT_EQ(after(*observer, {positive, both}).first, 0.0f) << name;
    observer->reset();
    EXPECT_LT(after(*observer, {both, positive}).first, 0.0f) << name;
  }
}

TEST(Searches, FindLessErrorThanTheExtremes) {
  at::manual_seed(5);
  at::Tensor rows = at::randn({64, 32});
  rows[3][4] = 20;
  for (const bool symmetric : {false, true}) {
    for (const QuantSpec& spec : {per_tensor(4, symmetric), per_row(3, symmetric)}) {
      const double extremes = error_within(min_max(rows, spec), rows, spec);
      for (const std::string& name : kSearches) {
        const auto observer = make(name, spec);
        observer->observe(rows);
        EXPECT_LT(error_within(observer->range(), rows, spec), extremes) << name;
      }
    }
  }
}

TEST(Searches, ARowIsSearchedAsIfItWereAlone) {
  at::manual_seed(6);
  const at::Tensor rows = at::randn({5, 300});  // every row has both signs, as the whole
  for (const std::string& name : kSearches) {
    const auto together = make(name, per_row(4, false));
    together->observe(rows);
    for (int64_t row = 0; row < rows.size(0); ++row) {
      const auto alone = make(name, per_tensor(4));
      alone->observe(rows[row].view({1, -1}));
      EXPECT_EQ(together->range().min[row].item<float>(), bounds(alone->range()).first) << name;
      EXPECT_EQ(together->range().max[row].item<float>(), bounds(alone->range()).second) << name;
    }
  }
}

TEST(Observers, NanIsReportedAndInfinityDoesNotHang) {
  for (const std::string& name : plugins().observers.names()) {
    at::Tensor rows = at::randn({6, 4});
    rows[2][1] = NAN;
    const auto observer = make(name, per_tensor(4));
    const auto with_nan = after(*observer, {rows});
    EXPECT_TRUE(std::isnan(with_nan.first) && std::isnan(with_nan.second)) << name;
    rows[2][1] = INFINITY;
    observer->reset();
    EXPECT_FALSE(std::isfinite(after(*observer, {rows}).second)) << name;
  }
}

TEST(Quantile, AShareOfTheValuesSaturates) {
  at::Tensor rows = at::linspace(0, 1, 200001, at::kFloat).view({-1, 1});
  rows[200000][0] = 100;  // one value of 200001 is an outlier
  const auto [min, max] = after(*make("quantile", per_tensor(8)), {rows});
  EXPECT_EQ(min, 0.0f);
  // All but one lie in [0, 1], which reaches into bin 20 of 2048 over [0, 100].
  EXPECT_FLOAT_EQ(max, 20.5f * 100 / 2048);
}

TEST(LsqInit, ThreeDeviationsOfTheLastBatch) {
  const at::Tensor rows = at::tensor({1.0f, 3.0f, 5.0f}).view({1, 3});
  const auto [min, max] = after(*make("lsq_init", per_tensor(4, true)), {rows * 7, rows});
  EXPECT_FLOAT_EQ(min, 3 - 3 * 2);  // unbiased: sqrt(8 / 2)
  EXPECT_FLOAT_EQ(max, 3 + 3 * 2);
  EXPECT_EQ(after(*make("lsq_init", per_tensor(4, true)), {at::full({1, 1}, 2.0)}),
            std::pair(2.0f, 2.0f));
}

}  // namespace
}  // namespace quell
