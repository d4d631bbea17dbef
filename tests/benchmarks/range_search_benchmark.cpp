// The exact search for the range of least squared error against evaluating its candidates one by
// one, as the published code does (float32, operations of LibTorch). Of those a few are timed and
// scaled to all of them; ours includes sorting. `--help` says how to run it.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <cmath>
#include <memory>

#include "framework/kernels/quantization_error.h"
#include "framework/quant/range_search_observer.h"
#include "tests/benchmarks/published/operations.h"
#include "tests/benchmarks/support/data.h"

namespace quell::benchmarks {
namespace {

using at::Tensor;
using kernels::MinMax;

constexpr int kCandidates = 100;
constexpr int kTimed = 2;

// The mean squared error of one candidate, in the published sequence.
Tensor published_loss(const Tensor& x, kernels::ScaleZeroPoint grid, kernels::Levels levels) {
  const Tensor y = published::quantize_dequantize(
      x, at::full({1}, grid.scale), at::full({1}, grid.zero_point),
      static_cast<int64_t>(levels.low), static_cast<int64_t>(levels.high));
  return (y - x).abs().pow(2).mean();
}

Tensor aten_loss(const Tensor& x, kernels::ScaleZeroPoint grid, kernels::Levels levels) {
  return at::mse_loss(at::fake_quantize_per_tensor_affine(
                          x, grid.scale, static_cast<int64_t>(grid.zero_point),
                          static_cast<int64_t>(levels.low), static_cast<int64_t>(levels.high)),
                      x);
}

using Loss = Tensor (*)(const Tensor&, kernels::ScaleZeroPoint, kernels::Levels);

// The bounds tried at one width, of a symmetric grid.
MinMax symmetric_candidate(MinMax extremes, int i) {
  const float reach = std::max(std::abs(extremes.min), std::abs(extremes.max));
  const float bound = reach / kCandidates * static_cast<float>(i);
  return {-bound, bound};
}

struct Search {
  Tensor x;
  QuantSpec spec;
  kernels::AffineRule rule;
  MinMax extremes;

  Search(const Setting& setting, bool symmetric) : x(activations(setting.shape)) {
    // Rows, as observers see them.
    x = x.view({setting.rows(), setting.features()});
    spec.bits = setting.bits;
    spec.symmetric = symmetric;
    rule = kernels::affine_rule(spec.grid, static_cast<int>(spec.bits), symmetric);
    extremes = kernels::min_max_tensor(x.const_data_ptr<float>(), x.numel());
  }
  kernels::ScaleZeroPoint grid(MinMax range) const {
    return kernels::scale_zero_point(rule, range.min, range.max);
  }
  double loss(MinMax range) const {
    return published_loss(x, grid(range), rule.levels).item<double>();
  }
};

// kTimed of the candidates; each is a synchronizing read, as published.
Contender timed_candidates(std::string name, const Search& search, Loss loss, double all,
                           Difference difference) {
  return {std::move(name),
          [=](int64_t) -> Outputs {
            double sum = 0;
            for (int i = 0; i < kTimed; ++i) {
              const MinMax range = symmetric_candidate(search.extremes, kCandidates - 10 * i);
              sum += loss(search.x, search.grid(range), search.rule.levels).item<double>();
            }
            return {at::scalar_tensor(sum)};
          },
          std::move(difference), kTimed / all};
}

// What the published search tries, or of many a sample: equal steps of the bound, or of the width
// with every zero point.
std::vector<MinMax> candidates(const Search& search) {
  const bool all = search.x.numel() < 10000;
  const int step = all ? 1 : (search.spec.symmetric ? 5 : 20);
  const float shift_step = all ? 1.0f : (search.rule.levels.high + 1) / 4;
  std::vector<MinMax> result;
  for (int i = step; i <= kCandidates; i += step) {
    if (search.spec.symmetric) {
      result.push_back(symmetric_candidate(search.extremes, i));
      continue;
    }
    const MinMax extremes = search.extremes;
    const float width = (extremes.max - extremes.min) / kCandidates * static_cast<float>(i);
    const float delta = width / search.rule.levels.high;
    for (float zero_point = 0; zero_point <= search.rule.levels.high; zero_point += shift_step) {
      result.push_back({std::max(0.0f - zero_point * delta, extremes.min),
                        std::min(width - zero_point * delta, extremes.max)});
    }
  }
  return result;
}

// No published candidate may have a smaller loss than the range found, beyond what its float32 mean
// errs.
Difference worse_than_candidates(const Search& search) {
  return [search](const Outputs& own, const Outputs&) -> std::string {
    const MinMax found = {own[0].item<float>(), own[1].item<float>()};
    const double best = search.loss(found);
    for (const MinMax& other : candidates(search)) {
      if (const double loss = search.loss(other); loss < best * (1 - 1e-5)) {
        return fmt::format("range [{}, {}] has loss {}, [{}, {}] has {}", found.min, found.max,
                           best, other.min, other.max, loss);
      }
    }
    return "";
  };
}

Case whole_search(const Setting& setting, bool symmetric) {
  const Search search(setting, symmetric);
  const double all = symmetric ? kCandidates : kCandidates * std::exp2(setting.bits);
  const Contender own = {"own", [=](int64_t) -> Outputs {
                           const Range range =
                               search_ranges(search.x, search.spec, side_of(search.x),
                                             GridSearchParams{kCandidates}.search());
                           return {range.min, range.max};
                         }};
  return {
      4 * setting.values(),
      1,
      {own, timed_candidates("aten", search, aten_loss, all, not_compared),
       timed_candidates("published", search, published_loss, all, worse_than_candidates(search))}};
}

// One candidate after the values were sorted.
Case one_candidate(const Setting& setting) {
  const Search search(setting, /*symmetric=*/true);
  const float* x = search.x.const_data_ptr<float>();
  const auto sorted =
      std::make_shared<const kernels::SortedValues>(std::vector<float>(x, x + search.x.numel()));
  const auto run_own = [=](int64_t) -> Outputs {
    double sum = 0;
    for (int i = 0; i < kTimed; ++i) {
      const MinMax range = symmetric_candidate(search.extremes, kCandidates - 10 * i);
      sum += sorted->mean_squared_error(search.grid(range), search.rule.levels);
    }
    return {at::scalar_tensor(sum)};
  };
  const Difference losses = [](const Outputs& own, const Outputs& other) -> std::string {
    // The published mean is a float32 sum.
    return at::allclose(own[0], other[0], 1e-4) ? "" : "the losses differ";
  };
  return {0,
          1,
          {{"own", run_own},
           timed_candidates("aten", search, aten_loss, kTimed, not_compared),
           timed_candidates("published", search, published_loss, kTimed, losses)}};
}

}  // namespace
}  // namespace quell::benchmarks

int main(int argc, char** argv) {
  using quell::benchmarks::Setting;
  namespace b = quell::benchmarks;
  const b::Effort few{.least_rounds = 5, .most_rounds = 31, .seconds = 0.5};
  const auto symmetric = [](const Setting& s) { return b::whole_search(s, true); };
  const auto asymmetric = [](const Setting& s) { return b::whole_search(s, false); };
  return b::run_suite(
      argc, argv,
      {{.name = "mse_1d", .make = symmetric, .cold = false, .effort = few},
       {.name = "mse_1d_candidate", .make = b::one_candidate, .cold = false, .effort = few},
       {.name = "mse_2d", .make = asymmetric, .cold = false, .effort = few, .usual_bits = 8}});
}
