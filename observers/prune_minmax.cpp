// Token-wise clipping: the extremes of a batch after the tokens with the most extreme values were
// cut down to the others; averaged over batches. Outlier Suppression, section 4.2.

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include "framework/kernels/token_extremes.h"
#include "framework/plugin/registry.h"
#include "framework/quant/batch_range_observer.h"
#include "framework/quant/device.h"
#include "framework/quant/scale_map.h"
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

// Keeps the extremes of every token, so that a range of any ratio costs a few binary searches.
class PruneMinMax final : public TokenRangeObserver {
 public:
  PruneMinMax(const Params& params, const QuantSpec& spec) : spec_(spec) {
    set_ratio(params.ratio);
  }

  void observe(const at::Tensor& rows) override {
    if (rows.numel() == 0) throw Error("an observer was given an empty tensor");
    QUELL_ASSERT(rows.scalar_type() == at::kFloat, "sites carry float32");
    const Range tokens = token_ranges(rows.contiguous());
    QUELL_ASSERT(batches_.empty() || std::ssize(batches_[0]) == tokens.min.size(1),
                 "the number of channels changed");
    batches_.push_back(extremes(tokens));
  }

  Range range() const override {
    if (batches_.empty()) throw Error("an observer was asked for a range before it saw a batch");
    const auto channels = static_cast<int64_t>(batches_[0].size());
    Range range{at::empty({channels}, at::kFloat), at::empty({channels}, at::kFloat)};
    float* min = range.min.mutable_data_ptr<float>();
    float* max = range.max.mutable_data_ptr<float>();
    for (size_t count = 0; count < batches_.size(); ++count) {
      for (int64_t channel = 0; channel < channels; ++channel) {
        const kernels::MinMax batch = batches_[count][static_cast<size_t>(channel)].clipped(ratio_);
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

  // Two tensors for each batch and channel.
  std::vector<at::Tensor> state() const override {
    std::vector<at::Tensor> state;
    for (const auto& batch : batches_) {
      for (const kernels::TokenExtremes& channel : batch) {
        state.push_back(at::tensor(channel.minima(), at::kFloat));
        state.push_back(at::tensor(channel.maxima(), at::kFloat));
      }
    }
    // How the list is divided.
    state.push_back(at::full({1}, std::ssize(batches_), at::kLong));
    return state;
  }

  void set_state(const std::vector<at::Tensor>& state) override {
    const int64_t count = *state.back().const_data_ptr<int64_t>();
    QUELL_ASSERT(count > 0 && (std::ssize(state) - 1) % (2 * count) == 0, "two tensors a channel");
    const auto values = [](const at::Tensor& tensor) {
      const float* data = tensor.const_data_ptr<float>();
      return std::vector<float>(data, data + tensor.numel());
    };
    batches_.assign(static_cast<size_t>(count), {});
    auto next = state.begin();
    const int64_t channels = (std::ssize(state) - 1) / (2 * count);
    for (auto& batch : batches_) {
      for (int64_t channel = 0; channel < channels; ++channel, next += 2) {
        batch.emplace_back(values(next[0]), values(next[1]));
      }
    }
  }

  void set_ratio(double ratio) override {
    if (!(ratio > 0 && ratio <= 1)) {
      throw Error(fmt::format("prune_minmax: a ratio is in (0, 1], found {}", ratio));
    }
    ratio_ = ratio;
  }

 private:
  // Of each token and scale, [tokens, scales].
  Range token_ranges(const at::Tensor& values) const {
    const ScaleMap map = ScaleMap::make(spec_, values.sizes());
    const bool one_scale = map.scales() == 1;
    const int64_t tokens = one_scale ? values.size(0) : map.outer();
    const int64_t channels = one_scale ? 1 : map.channels();
    Range range{at::empty({tokens, channels}, values.options()),
                at::empty({tokens, channels}, values.options())};
    kernels::min_max_tokens(kernel_device(values), values.const_data_ptr<float>(), 1,
                            tokens * channels, values.numel() / (tokens * channels), nullptr,
                            range.min.mutable_data_ptr<float>(),
                            range.max.mutable_data_ptr<float>());
    range = ranges_on_host(range);
    return one_scale ? range : map.reduce(range);
  }

  // One for each scale.
  static std::vector<kernels::TokenExtremes> extremes(const Range& tokens) {
    const auto of_scale = [](const at::Tensor& all, int64_t scale) {
      const float* from = all.const_data_ptr<float>() + scale;
      std::vector<float> values(static_cast<size_t>(all.size(0)));
      for (float& value : values) {
        value = *from;
        from += all.size(1);
      }
      return values;
    };
    std::vector<kernels::TokenExtremes> batch;
    batch.reserve(static_cast<size_t>(tokens.min.size(1)));
    for (int64_t scale = 0; scale < tokens.min.size(1); ++scale) {
      batch.emplace_back(of_scale(tokens.min, scale), of_scale(tokens.max, scale));
    }
    return batch;
  }

  QuantSpec spec_;
  double ratio_ = 1.0;
  std::vector<std::vector<kernels::TokenExtremes>> batches_;  // [batches][channels]
};

}  // namespace

void register_observer_prune_minmax(Plugins& plugins) {
  add_plugin<PruneMinMax, Params>(
      plugins.observers, "prune_minmax",
      "Token-wise clipping: extremes without the most extreme tokens; mean over batches.",
      "Outlier Suppression, section 4.2; OS AvgPruneMinMaxObserver");
}

}  // namespace quell
