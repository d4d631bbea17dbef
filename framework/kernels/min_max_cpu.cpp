#include "framework/kernels/min_max.h"

#include <algorithm>
#include <mutex>
#include <vector>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/min_max_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/highway.h>

#include "framework/kernels/min_max-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quell::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

MinMax range_of_tensor(const float* x, int64_t size) { return range_of(x, size); }

// Widens min, max [channels] to hold x [rows, channels]. Eight rows at a time, so that the bounds
// are loaded and stored once for eight loads of x.
void widen_by_rows(const float* x, int64_t rows, int64_t channels, float* min, float* max) {
  const range_detail::Tag tag;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  for (int64_t first = 0; first < rows; first += 8) {
    const int64_t last = std::min(rows, first + 8);
    int64_t channel = 0;
    for (; channel + lanes <= channels; channel += lanes) {
      const range_detail::Bounds before = {hn::LoadU(tag, min + channel),
                                           hn::LoadU(tag, max + channel)};
      range_detail::FiniteBounds finite = {before, hn::Zero(tag)};
      for (int64_t row = first; row < last; ++row) {
        finite.include(hn::LoadU(tag, x + row * channels + channel));
      }
      range_detail::Bounds after = finite.bounds;
      if (finite.failed() || !hn::AllFalse(tag, hn::IsNaN(before.min))) {
        after = before;
        for (int64_t row = first; row < last; ++row) {
          after.include(hn::LoadU(tag, x + row * channels + channel));
        }
      }
      hn::StoreU(after.min, tag, min + channel);
      hn::StoreU(after.max, tag, max + channel);
    }
    for (; channel < channels; ++channel) {
      MinMax range = {min[channel], max[channel]};
      for (int64_t row = first; row < last; ++row) {
        const float value = x[row * channels + channel];
        merge({value, value}, range);
      }
      min[channel] = range.min;
      max[channel] = range.max;
    }
  }
}

// Channels first..last of x [outer, channels, inner].
void ranges_of_channels(const float* x, int64_t outer, int64_t channels, int64_t inner,
                        int64_t first, int64_t last, float* min, float* max) {
  for (int64_t channel = first; channel < last; ++channel) {
    MinMax range;
    for (int64_t block = 0; block < outer; ++block) {
      merge(range_of(x + (block * channels + channel) * inner, inner), range);
    }
    min[channel] = range.min;
    max[channel] = range.max;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quell::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quell::kernels {
namespace {

HWY_EXPORT(range_of_tensor);
HWY_EXPORT(widen_by_rows);
HWY_EXPORT(ranges_of_channels);

// Values that are worth a thread (about 10 microseconds).
constexpr int64_t kGrain = 65536;

void min_max_columns(const float* x, int64_t rows, int64_t channels, float* min, float* max,
                     ParallelFor parallel_for) {
  std::vector<MinMax> all(channels);
  std::mutex mutex;
  parallel_for(0, rows, kGrain / channels + 1, [&](int64_t first, int64_t last) {
    std::vector<float> low(channels, MinMax().min);
    std::vector<float> high(channels, MinMax().max);
    HWY_DYNAMIC_DISPATCH(widen_by_rows)
    (x + first * channels, last - first, channels, low.data(), high.data());
    // The order of merging does not matter: bounds are exact.
    const std::lock_guard lock(mutex);
    for (int64_t channel = 0; channel < channels; ++channel) {
      merge({low[channel], high[channel]}, all[channel]);
    }
  });
  for (int64_t channel = 0; channel < channels; ++channel) {
    const MinMax range = canonical(all[channel]);
    min[channel] = range.min;
    max[channel] = range.max;
  }
}

}  // namespace

MinMax min_max_tensor(const float* x, int64_t size, ParallelFor parallel_for) {
  MinMax all;
  std::mutex mutex;
  parallel_for(0, size, kGrain, [&](int64_t first, int64_t last) {
    const MinMax part = HWY_DYNAMIC_DISPATCH(range_of_tensor)(x + first, last - first);
    const std::lock_guard lock(mutex);
    merge(part, all);
  });
  return canonical(all);
}

void min_max_channels(const float* x, int64_t outer, int64_t channels, int64_t inner, float* min,
                      float* max, ParallelFor parallel_for) {
  if (channels == 1) {
    const MinMax range = min_max_tensor(x, outer * inner, parallel_for);
    min[0] = range.min;
    max[0] = range.max;
  } else if (inner == 1) {
    min_max_columns(x, outer, channels, min, max, parallel_for);
  } else {
    const int64_t grain = kGrain / std::max<int64_t>(outer * inner, 1) + 1;
    parallel_for(0, channels, grain, [&](int64_t first, int64_t last) {
      HWY_DYNAMIC_DISPATCH(ranges_of_channels)
      (x, outer, channels, inner, first, last, min, max);
    });
  }
}

void min_max_tokens(const float* x, int64_t sequences, int64_t length, int64_t features,
                    const int64_t* lengths, float* min, float* max, ParallelFor parallel_for) {
  std::vector<int64_t> ends(sequences);  // valid tokens up to each sequence, itself included
  for (int64_t i = 0; i < sequences; ++i) {
    ends[i] = (i == 0 ? 0 : ends[i - 1]) + (lengths == nullptr ? length : lengths[i]);
  }
  const int64_t tokens = sequences == 0 ? 0 : ends.back();
  const int64_t grain = kGrain / std::max<int64_t>(features, 1) + 1;
  parallel_for(0, tokens, grain, [&](int64_t first, int64_t last) {
    auto sequence = std::upper_bound(ends.begin(), ends.end(), first) - ends.begin();
    while (first < last) {
      const int64_t begin = sequence == 0 ? 0 : ends[sequence - 1];
      const int64_t count = std::min(last, ends[sequence]) - first;
      const float* values = x + (sequence * length + first - begin) * features;
      HWY_DYNAMIC_DISPATCH(ranges_of_channels)
      (values, 1, count, features, 0, count, min + first, max + first);
      first += count;
      ++sequence;
    }
  });
}

}  // namespace quell::kernels
#endif  // HWY_ONCE
