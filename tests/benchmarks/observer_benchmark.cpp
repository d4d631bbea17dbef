// What observers and statistics read out of activations: extremes of the tensor, of features, of
// tokens; token-wise clipping with padding; histograms; moments. `--help` says how to run it.
#include <ATen/ATen.h>
#include <numeric>

#include "framework/kernels/grid.h"
#include "framework/kernels/histogram.h"
#include "framework/kernels/min_max.h"
#include "framework/kernels/statistics.h"
#include "framework/kernels/token_extremes.h"
#include "framework/quant/parallel.h"
#include "tests/benchmarks/published/quantizer.h"
#include "tests/benchmarks/support/data.h"

namespace quell::benchmarks {
namespace {

using at::Tensor;

constexpr int64_t kBytes = 4;  // of a value that is read

// x only; the outputs of these operations are small.
struct Inputs {
  std::vector<Tensor> x;

  explicit Inputs(const Setting& setting) : x{activations(setting.shape)} {
    const int64_t count = setting.slots(kBytes * setting.values());
    for (int64_t i = 1; i < count; ++i) x.push_back(x.front().clone());
  }
};

Contender contender(std::string name, const Inputs& inputs,
                    std::function<Outputs(const Tensor& x)> run,
                    Difference difference = difference_in_bits) {
  return {std::move(name),
          [inputs, run = std::move(run)](int64_t slot) {
            return run(inputs.x[static_cast<size_t>(slot)]);
          },
          std::move(difference)};
}

Contender read_contender(const Inputs& inputs) {
  return contender(
      "read", inputs,
      [](const Tensor& x) -> Outputs {
        return {at::scalar_tensor(largest_of(x.const_data_ptr<float>(), x.numel()))};
      },
      not_compared);
}

Case case_of(int64_t values, const Inputs& inputs, std::vector<Contender> contenders) {
  return {kBytes * values, static_cast<int64_t>(inputs.x.size()), std::move(contenders)};
}

Outputs outputs(std::tuple<Tensor, Tensor> pair) { return {std::get<0>(pair), std::get<1>(pair)}; }

// Outlier Suppression's MinMaxObserver copies what it observes.
Case min_max_tensor(const Setting& setting) {
  const Inputs inputs(setting);
  return case_of(
      setting.values(), inputs,
      {contender("own", inputs,
                 [](const Tensor& x) -> Outputs {
                   const auto range =
                       kernels::min_max_tensor(x.const_data_ptr<float>(), x.numel(), parallel_for);
                   return {at::scalar_tensor(range.min), at::scalar_tensor(range.max)};
                 }),
       read_contender(inputs),
       contender("aten", inputs, [](const Tensor& x) { return outputs(at::aminmax(x)); }),
       contender("published", inputs,
                 [](const Tensor& x) { return outputs(at::aminmax(x.clone().detach())); })});
}

// Of each row (axis 0) or feature (axis 1) of [rows, features].
Case min_max_channels(const Setting& setting, int64_t axis) {
  const int64_t rows = setting.rows(), features = setting.features();
  const Inputs inputs({{rows, features}, setting.bits, setting.cold});
  const int64_t channels = axis == 0 ? rows : features;
  const auto own = [=](const Tensor& x) -> Outputs {
    const Tensor min = at::empty({channels}), max = at::empty({channels});
    kernels::min_max_channels(x.const_data_ptr<float>(), axis == 0 ? 1 : rows, channels,
                              axis == 0 ? features : 1, min.mutable_data_ptr<float>(),
                              max.mutable_data_ptr<float>(), parallel_for);
    return {min, max};
  };
  const auto published = [=](const Tensor& x) {
    return outputs(at::aminmax(x.clone().detach().transpose(0, axis).flatten(1), 1));
  };
  return case_of(setting.values(), inputs,
                 {contender("own", inputs, own), read_contender(inputs),
                  contender("aten", inputs,
                            [=](const Tensor& x) { return outputs(at::aminmax(x, 1 - axis)); }),
                  contender("published", inputs, published)});
}

// How many tokens of each sequence are real: 11 to 60 of 128, as in GLUE, or all.
std::vector<int64_t> sequence_lengths(int64_t batch, int64_t room, bool padded) {
  std::vector<int64_t> lengths;
  for (int64_t i = 0; i < batch; ++i) {
    lengths.push_back(padded ? (11 + i * 37 % 50) * room / 128 + 1 : room);
  }
  return lengths;
}

// [batch, length] with ones where a token is real.
Tensor mask_of(const std::vector<int64_t>& lengths, int64_t room) {
  const auto batch = static_cast<int64_t>(lengths.size());
  const Tensor mask = at::zeros({batch, room}, at::kLong);
  for (int64_t i = 0; i < batch; ++i) {
    mask[i].narrow(0, 0, lengths[static_cast<size_t>(i)]).fill_(1);
  }
  return mask;
}

constexpr double kRatio = 0.95;

// A batch of tokens: [batch, heads, length, features], with one head in hidden states.
struct Tokens {
  int64_t batch, heads, room, features;
  std::vector<int64_t> lengths;  // per sequence and head

  Tokens(const Setting& setting, bool padded)
      : batch(setting.shape.front()),
        heads(setting.shape.size() == 4 ? setting.shape[1] : 1),
        room(setting.shape[setting.shape.size() - 2]),
        features(setting.features()) {
    for (const int64_t length : sequence_lengths(batch, room, padded)) {
      lengths.insert(lengths.end(), static_cast<size_t>(heads), length);
    }
  }
  int64_t count() const { return std::accumulate(lengths.begin(), lengths.end(), int64_t{0}); }
};

// The range of all tokens of a batch after clipping.
kernels::MinMax clipped_range(const float* x, const Tokens& tokens) {
  std::vector<float> min(static_cast<size_t>(tokens.count())), max(min.size());
  kernels::min_max_tokens(x, tokens.batch * tokens.heads, tokens.room, tokens.features,
                          tokens.lengths.data(), min.data(), max.data(), parallel_for);
  // A token is one position in all heads.
  size_t part = 0, token = 0;
  for (size_t i = 0; i < tokens.lengths.size(); i += static_cast<size_t>(tokens.heads)) {
    const auto length = static_cast<size_t>(tokens.lengths[i]);
    for (size_t t = 0; t < length; ++t) {
      kernels::MinMax range;
      for (size_t head = 0; head < static_cast<size_t>(tokens.heads); ++head) {
        kernels::merge({min[part + head * length + t], max[part + head * length + t]}, range);
      }
      min[token + t] = range.min;
      max[token + t] = range.max;
    }
    part += length * static_cast<size_t>(tokens.heads);
    token += length;
  }
  min.resize(token);
  max.resize(token);
  return kernels::TokenExtremes(std::move(min), std::move(max)).clipped(kRatio);
}

// One batch seen by the observer of token-wise clipping. Published: padding removed by a loop of
// concatenations, extremes, quantiles, clipping, extremes.
Case token_clipping(const Setting& setting, bool padded) {
  const Inputs inputs(setting);
  const Tokens tokens(setting, padded);
  const Tensor mask = mask_of(sequence_lengths(tokens.batch, tokens.room, padded), tokens.room);
  const int64_t sequence_axis = static_cast<int64_t>(setting.shape.size()) - 2;
  const auto rule = kernels::affine_rule(kernels::Grid::kOs, static_cast<int>(setting.bits), false);
  const auto own = [=](const Tensor& x) -> Outputs {
    const auto range = clipped_range(x.const_data_ptr<float>(), tokens);
    const auto grid = kernels::scale_zero_point(rule, range.min, range.max);
    return {at::full({1}, grid.scale), at::full({1}, grid.zero_point)};
  };
  const auto published = [=](const Tensor& x) -> Outputs {
    published::ActivationQuantizer quantizer("activation", setting.bits,
                                             published::RangeRule::kPruneMinMax);
    quantizer.observe = true;
    quantizer.ratio = kRatio;
    quantizer.apply(x, mask, sequence_axis);
    return {quantizer.scale, quantizer.zero_point};
  };
  return case_of(tokens.count() * tokens.features, inputs,
                 {contender("own", inputs, own), contender("published", inputs, published)});
}

constexpr int64_t kBins = 2048;

// |x| from 0 to its largest value, as the observer of quantiles sees it. Counts of float32, which
// are exact here.
Case histogram(const Setting& setting) {
  const Inputs inputs(setting);
  const auto own = [](const Tensor& x) -> Outputs {
    const float* values = x.const_data_ptr<float>();
    const auto range = kernels::min_max_tensor(values, x.numel(), parallel_for);
    const Tensor counts = at::zeros({kBins}, at::kLong);
    kernels::add_magnitudes_to_histogram(values, x.numel(),
                                         {0.0f, std::max(-range.min, range.max), kBins},
                                         counts.mutable_data_ptr<int64_t>(), parallel_for);
    return {counts};
  };
  const auto composed = [](const Tensor& x) -> Outputs {
    const auto [min, max] = at::aminmax(x);
    const Tensor reach = at::maximum(-min, max);
    return {at::histc(x.abs(), kBins, 0, reach.item())};
  };
  const auto published = [composed](const Tensor& x) { return composed(x.clone().detach()); };
  const Difference counts = [](const Outputs& own_counts, const Outputs& other) -> std::string {
    return at::equal(own_counts[0].to(at::kFloat), other[0]) ? "" : "the counts differ";
  };
  // Two passes: the range, then the bins.
  return {2 * kBytes * setting.values(),
          static_cast<int64_t>(inputs.x.size()),
          {contender("own", inputs, own), read_contender(inputs),
           contender("aten", inputs, composed, counts),
           contender("published", inputs, published, counts)}};
}

// Of each entry its mean, standard deviation and kurtosis, [entries] in double, and its extremes.
Outputs summary(const std::vector<kernels::Moments>& entries) {
  const auto count = static_cast<int64_t>(entries.size());
  const Tensor result = at::empty({5, count}, at::kDouble);
  double* out = result.mutable_data_ptr<double>();
  for (int64_t i = 0; i < count; ++i) {
    const kernels::Moments& entry = entries[static_cast<size_t>(i)];
    out[i] = entry.min;
    out[count + i] = entry.max;
    out[2 * count + i] = entry.mean;
    out[3 * count + i] = entry.variance();
    out[4 * count + i] = entry.kurtosis();
  }
  return {result};
}

// The same by operations of LibTorch, over one axis.
Tensor composed_summary(const Tensor& x, int64_t axis) {
  const auto [min, max] = at::aminmax(x, axis);
  const Tensor mean = x.mean(axis, /*keepdim=*/true);
  const Tensor square = (x - mean).pow(2);
  const Tensor variance = square.mean(axis);
  const Tensor kurtosis = square.pow(2).mean(axis) / variance.pow(2);
  return at::stack({min, max, mean.squeeze(axis), variance, kurtosis});
}

// LibTorch's moments are float32: of values up to 35 times the rest, their sums err by 1e-4 at
// most.
std::string difference_of_summaries(const Outputs& own, const Outputs& other) {
  for (size_t i = 0; i < own.size(); ++i) {
    if (!at::allclose(own[i], other[i].to(at::kDouble), 1e-3, 1e-4)) {
      return i == 0 ? "statistics of features" : "statistics of tokens";
    }
  }
  return "";
}

// Per feature and per token in one pass.
Case statistics(const Setting& setting) {
  const int64_t rows = setting.rows(), features = setting.features();
  const Inputs inputs({{rows, features}, setting.bits, setting.cold});
  const auto own = [=](const Tensor& x) -> Outputs {
    std::vector<kernels::Moments> channels(static_cast<size_t>(features));
    std::vector<kernels::Moments> tokens(static_cast<size_t>(rows));
    kernels::add_statistics(x.const_data_ptr<float>(), rows, features, {}, channels.data(),
                            tokens.data(), parallel_for);
    return {summary(channels)[0], summary(tokens)[0]};
  };
  const auto aten = [](const Tensor& x) -> Outputs {
    return {composed_summary(x, 0), composed_summary(x, 1)};
  };
  return case_of(setting.values(), inputs,
                 {contender("own", inputs, own), read_contender(inputs),
                  contender("aten", inputs, aten, difference_of_summaries)});
}

}  // namespace
}  // namespace quell::benchmarks

int main(int argc, char** argv) {
  using quell::benchmarks::Setting;
  namespace b = quell::benchmarks;
  const auto columns = [](const Setting& s) { return b::min_max_channels(s, 1); };
  const auto rows = [](const Setting& s) { return b::min_max_channels(s, 0); };
  const auto padded = [](const Setting& s) { return b::token_clipping(s, true); };
  const auto full = [](const Setting& s) { return b::token_clipping(s, false); };
  return b::run_suite(
      argc, argv,
      {{.name = "min_max_tensor", .make = b::min_max_tensor, .depends_on_bits = false},
       {.name = "min_max_columns", .make = columns, .depends_on_bits = false},
       {.name = "min_max_rows", .make = rows, .depends_on_bits = false},
       {.name = "token_clipping", .make = padded, .depends_on_bits = false, .has_sequences = true},
       {.name = "token_clipping_full",
        .make = full,
        .depends_on_bits = false,
        .has_sequences = true},
       {.name = "histogram", .make = b::histogram, .depends_on_bits = false},
       {.name = "statistics", .make = b::statistics, .depends_on_bits = false}});
}
