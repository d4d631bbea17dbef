// Token-wise clipping: the extremes of a batch after the tokens with the most extreme values were
// cut down to the others; averaged over batches. Outlier Suppression, section 4.2.

#include <ATen/ops/empty.h>
#include <fmt/format.h>
#include <algorithm>
#include <cmath>

#include "framework/kernels/min_max.h"
#include "framework/plugin/registry.h"
#include "framework/quant/batch_range_observer.h"
#include "framework/quant/parallel.h"
#include "framework/quant/token_range_observer.h"

namespace quell {
namespace {

struct Params {
  double ratio = 1.0;
  template <class V>
  static void describe(V& v) {
    v("ratio", &Params::ratio, "share of tokens that are not cut", in_range(1e-6, 1.0));
  }
};

// As torch.quantile on `sorted`, with its rank in float32 (which may fall just below an integer).
float quantile(const std::vector<float>& sorted, double share) {
  const float rank = static_cast<float>(share) * static_cast<float>(sorted.size() - 1);
  const float below = std::floor(rank);
  const size_t last = sorted.size() - 1;
  const float a = sorted[std::min(static_cast<size_t>(below), last)];
  const float b = sorted[std::min(static_cast<size_t>(std::ceil(rank)), last)];
  const float weight = rank - below;
  return weight < 0.5f ? a + weight * (b - a) : b - (b - a) * (1 - weight);
}

// One end (the largest values, or the negated smallest ones) of the tokens of a batch.
class TokenEnds {
 public:
  explicit TokenEnds(std::vector<float> ends) : ends_(std::move(ends)), magnitudes_(ends_) {
    for (float& value : magnitudes_) value = std::abs(value);
    std::sort(ends_.begin(), ends_.end());
    std::sort(magnitudes_.begin(), magnitudes_.end());
  }
  float furthest() const { return ends_.back(); }
  // The furthest end of a token that is not beyond the quantile of the magnitudes.
  float bound(double ratio) const {
    const float limit = quantile(magnitudes_, ratio);
    // The token of the smallest magnitude is never beyond.
    return *std::prev(std::upper_bound(ends_.begin(), ends_.end(), limit));
  }

 private:
  std::vector<float> ends_;        // ascending
  std::vector<float> magnitudes_;  // ascending
};

// What one batch says about one scale.
class ChannelTokens {
 public:
  // Of equal length: per token its smallest and largest value.
  ChannelTokens(std::vector<float> min, std::vector<float> max)
      : lower_(negated(std::move(min))), upper_(std::move(max)) {}

  kernels::MinMax range(double ratio) const {
    const float low = -lower_.bound(ratio), high = upper_.bound(ratio);
    const auto clip = [&](float x) { return std::min(std::max(x, low), high); };
    return {clip(-lower_.furthest()) + 0.0f, clip(upper_.furthest()) + 0.0f};
  }

 private:
  static std::vector<float> negated(std::vector<float> values) {
    for (float& value : values) value = -value;
    return values;
  }
  TokenEnds lower_, upper_;
};

// Keeps the extremes of every token, so that a range of any ratio costs a few binary searches.
class PruneMinMax final : public TokenRangeObserver {
 public:
  PruneMinMax(const Params& params, const QuantSpec& spec) : spec_(spec) {
    set_ratio(params.ratio);
  }

  void observe(const at::Tensor& rows) override {
    if (rows.numel() == 0) throw Error("an observer was given an empty tensor");
    QUELL_ASSERT(rows.scalar_type() == at::kFloat, "sites carry float32");
    const at::Tensor values = rows.contiguous();
    const ChannelView view = tokens_of(values);
    QUELL_ASSERT(batches_.empty() || static_cast<int64_t>(batches_[0].size()) == view.channels,
                 "the number of channels changed");
    std::vector<ChannelTokens> batch;
    batch.reserve(static_cast<size_t>(view.channels));
    for (int64_t channel = 0; channel < view.channels; ++channel) {
      batch.push_back(extremes(values.const_data_ptr<float>(), view, channel));
    }
    batches_.push_back(std::move(batch));
  }

  Range range() const override {
    if (batches_.empty()) throw Error("an observer was asked for a range before it saw a batch");
    const auto channels = static_cast<int64_t>(batches_[0].size());
    Range range{at::empty({channels}, at::kFloat), at::empty({channels}, at::kFloat)};
    float* min = range.min.mutable_data_ptr<float>();
    float* max = range.max.mutable_data_ptr<float>();
    for (size_t count = 0; count < batches_.size(); ++count) {
      for (int64_t channel = 0; channel < channels; ++channel) {
        const kernels::MinMax batch = batches_[count][static_cast<size_t>(channel)].range(ratio_);
        const auto seen = static_cast<int64_t>(count);
        min[channel] =
            seen == 0 ? batch.min : MeanOfBatches::average(min[channel], batch.min, seen);
        max[channel] =
            seen == 0 ? batch.max : MeanOfBatches::average(max[channel], batch.max, seen);
      }
    }
    return range;
  }

  void reset() override { batches_.clear(); }

  void set_ratio(double ratio) override {
    if (!(ratio > 0 && ratio <= 1)) {
      throw Error(fmt::format("prune_minmax: a ratio is in (0, 1], found {}", ratio));
    }
    ratio_ = ratio;
  }

 private:
  // [tokens, channels, values of a token that share a scale].
  ChannelView tokens_of(const at::Tensor& values) const {
    if (spec_.granularity == Granularity::kTensor) {
      return {values.size(0), 1, values.numel() / values.size(0)};
    }
    return channel_view(values, spec_);
  }

  static ChannelTokens extremes(const float* x, const ChannelView& view, int64_t channel) {
    std::vector<float> min(static_cast<size_t>(view.outer)), max(min.size());
    parallel_for(0, view.outer, 64, [&](int64_t first, int64_t last) {
      for (int64_t token = first; token < last; ++token) {
        const kernels::MinMax range =
            kernels::min_max_tensor(x + (token * view.channels + channel) * view.inner, view.inner);
        min[static_cast<size_t>(token)] = range.min;
        max[static_cast<size_t>(token)] = range.max;
      }
    });
    for (const float value : min) {
      if (std::isnan(value)) return {{value}, {value}};  // to be reported; it has no order
    }
    return {std::move(min), std::move(max)};
  }

  QuantSpec spec_;
  double ratio_ = 1.0;
  std::vector<std::vector<ChannelTokens>> batches_;  // [batches][channels]
};

}  // namespace

void register_observer_prune_minmax(Plugins& plugins) {
  add_plugin<PruneMinMax, Params>(
      plugins.observers, "prune_minmax",
      "Token-wise clipping: extremes without the most extreme tokens; mean over batches.",
      "Outlier Suppression, section 4.2; OS AvgPruneMinMaxObserver");
}

}  // namespace quell
