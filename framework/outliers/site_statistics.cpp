#include "framework/outliers/site_statistics.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <mutex>
#include <numeric>

#include "framework/base/error.h"
#include "framework/quant/device.h"
#include "framework/quant/parallel.h"

namespace quell {
namespace {

// Rows that are worth a thread.
constexpr int64_t kRowGrain = 256;
constexpr int64_t kValueGrain = 65536;

// x < low exactly if x < float_at_least(low), for a float x; and the other way round.
float float_at_least(double low) {
  const auto rounded = static_cast<float>(low);
  return rounded < low ? std::nextafter(rounded, std::numeric_limits<float>::infinity()) : rounded;
}
float float_at_most(double high) { return -float_at_least(-high); }

// The upper bits of |x|: exponent and as many bits of the fraction as there are bins in an octave.
constexpr int kFractionBits = std::bit_width(unsigned{kLogBinsPerOctave}) - 1;
constexpr int kShift = 23 - kFractionBits;
constexpr uint32_t kMagnitude = 0x7fffffff;
constexpr int kAllLogBins = static_cast<int>(kMagnitude >> kShift) + 1;
constexpr int kFirstLogBin = (127 + kLowestOctave) * kLogBinsPerOctave;

void count_magnitudes(const float* x, int64_t size, std::vector<int64_t>& counts) {
  // Neighbours often fall into the same bin, and an increment waits for the one before it.
  constexpr int64_t kTables = 4;
  std::mutex mutex;
  parallel_for(0, size, kValueGrain, [&](int64_t first, int64_t last) {
    std::array<std::array<uint32_t, kAllLogBins>, kTables> tables = {};
    const auto bin = [x](int64_t i) {
      return (std::bit_cast<uint32_t>(x[i]) & kMagnitude) >> kShift;
    };
    int64_t i = first;
    for (; i + kTables <= last; i += kTables) {
      ++tables[0][bin(i)];
      ++tables[1][bin(i + 1)];
      ++tables[2][bin(i + 2)];
      ++tables[3][bin(i + 3)];
    }
    for (; i < last; ++i) ++tables[0][bin(i)];
    const std::lock_guard lock(mutex);
    for (const auto& table : tables) {
      std::transform(table.begin(), table.end(), counts.begin(), counts.begin(), std::plus<>());
    }
  });
}

}  // namespace

SiteStatistics::SiteStatistics(const Site& site, const OutlierOptions& options,
                               const CalibrationTokens& tokens, bool keep_raw)
    : site_(site),
      options_(options),
      tokens_(tokens),
      attention_(site.heads > 0),
      sides_(attention_sides(site)),
      keep_raw_(keep_raw && !attention_) {}

RowKind SiteStatistics::kind_of(const Batch& batch) const {
  if (site_.rows == RowsOf::kSequences) return RowKind::kSequences;
  const bool writes = batch.decoder_token_ids.defined();
  return writes && site_.rows == RowsOf::kTargets ? RowKind::kTargets : RowKind::kTokens;
}

const TokenColumns* SiteStatistics::columns() const {
  if (summary_.rows == RowKind::kTokens) return &tokens_.tokens;
  return summary_.rows == RowKind::kTargets ? &tokens_.targets : nullptr;
}

void SiteStatistics::measure(const Batch& batch, const at::Tensor& rows) {
  if (attention_) return measure_attention(batch, rows);
  summary_.rows = kind_of(batch);
  const int64_t count = rows.size(0), features = rows.numel() / count;
  summary_.channels.resize(features);
  std::vector<kernels::Moments> moments(count);
  kernels::add_statistics(rows.const_data_ptr<float>(), count, features, {},
                          summary_.channels.data(), moments.data(), parallel_for);
  for (const kernels::Moments& row : moments) {
    summary_.row_min.push_back(row.min);
    summary_.row_max.push_back(row.max);
  }
  const int64_t room = options_.raw_tokens - summary_.row_count;
  if (keep_raw_ && room > 0) {
    summary_.raw.push_back(rows.slice(0, 0, std::min(room, count)).clone());
  }
  summary_.row_count += count;
}

void SiteStatistics::measure_attention(const Batch& batch, const at::Tensor& rows) {
  summary_.rows = RowKind::kAttention;
  const AttentionValues values = attention_values(batch, sides_, site_.heads, rows);
  std::vector<kernels::Moments> moments(values.sequences() * values.heads);
  for_each_dynamically(values.sequences(), [&](int64_t i) {
    kernels::add_statistics(values.values + values.begin[i], values.heads, values.head_size(i), {},
                            nullptr, moments.data() + i * values.heads);
  });
  summary_.channels.resize(values.heads);
  for (size_t i = 0; i < moments.size(); ++i) {
    merge(moments[i], summary_.channels[static_cast<int64_t>(i) % values.heads]);
  }
  if (site_.role == "probs") {
    const bool targets = sides_.target_keys && batch.decoder_token_ids.defined();
    mass_.add(values, batch, sides_, targets ? tokens_.targets : tokens_.tokens, seen_keys_);
    seen_keys_ += sides_.target_keys ? batch.target_tokens() : batch.tokens();
  }
  summary_.row_count +=
      std::accumulate(values.queries.begin(), values.queries.end(), int64_t{0}) * values.heads;
}

void SiteStatistics::end_measuring() {
  for (const kernels::Moments& channel : summary_.channels) merge(channel, summary_.all);
  summary_.beyond.assign(options_.sigmas.size(), 0);
  summary_.channel_beyond.assign(options_.sigmas.size() * summary_.channels.size(), 0);
  if (options_.all_tokens) {
    summary_.row_beyond.assign(summary_.row_min.size() * options_.sigmas.size(), 0);
  }
  if (site_.role == "probs" && summary_.row_count > 0) summary_.attention = mass_.mean();
  summary_.histogram.assign(options_.bins, 0);
  summary_.log_histogram.assign(kAllLogBins, 0);
  set_limits();
  summarize_kinds();
  choose_extremes();
}

void SiteStatistics::set_limits() {
  const double mean = summary_.all.mean, deviation = summary_.deviation();
  for (const double sigma : options_.sigmas) {
    low_.push_back(float_at_least(mean - sigma * deviation));
    high_.push_back(float_at_most(mean + sigma * deviation));
  }
  for (size_t i = 0; i < summary_.channels.size(); ++i) {
    if (is_candidate(static_cast<int64_t>(i))) candidates_.push_back(static_cast<int64_t>(i));
  }
}

bool SiteStatistics::is_candidate(int64_t channel) const {
  return summary_.channels[channel].min < low_[0] || summary_.channels[channel].max > high_[0];
}

void SiteStatistics::summarize_kinds() {
  for (KindSummary& kind : summary_.kinds) kind.beyond.assign(options_.sigmas.size(), 0);
  const TokenColumns* tokens = columns();
  if (tokens == nullptr) return;
  for (size_t row = 0; row < summary_.row_min.size(); ++row) {
    KindSummary& kind = summary_.kinds[static_cast<size_t>(tokens->kinds[row])];
    ++kind.rows;
    kind.mean_min += summary_.row_min[row];
    kind.mean_max += summary_.row_max[row];
  }
  for (KindSummary& kind : summary_.kinds) {
    kind.mean_min /= static_cast<double>(kind.rows);
    kind.mean_max /= static_cast<double>(kind.rows);
  }
}

void SiteStatistics::choose_extremes() {
  const auto rows = static_cast<int64_t>(summary_.row_min.size());
  const double mean = summary_.all.mean;
  std::vector<double> reach(rows);
  for (int64_t i = 0; i < rows; ++i) {
    reach[i] = std::max(summary_.row_max[i] - mean, mean - summary_.row_min[i]);
    if (!std::isfinite(reach[i])) reach[i] = 0;
  }
  std::vector<int64_t> order(rows);
  std::iota(order.begin(), order.end(), 0);
  const auto end = order.begin() + std::min(options_.top_tokens, rows);
  std::partial_sort(order.begin(), end, order.end(), [&](int64_t a, int64_t b) {
    return reach[a] != reach[b] ? reach[a] > reach[b] : a < b;
  });
  for (auto row = order.begin(); row != end; ++row) {
    summary_.extremes.push_back({*row, 0, 0, {}, std::vector<int64_t>(options_.sigmas.size())});
  }
}

void SiteStatistics::count(const Batch& batch, const at::Tensor& rows) {
  if (attention_) {
    const AttentionValues values = attention_values(batch, sides_, site_.heads, rows);
    count_attention(values);
    add_histograms(values.values, values.size());
    return;
  }
  const float* x = rows.const_data_ptr<float>();
  count_rows(x, rows.size(0));
  describe_extremes(x, rows.size(0));
  add_histograms(x, rows.numel());
  seen_rows_ += rows.size(0);
}

void SiteStatistics::count_rows(const float* x, int64_t rows) {
  const TokenColumns* tokens = columns();
  const size_t sigmas = low_.size(), channels = summary_.channels.size();
  std::mutex mutex;
  parallel_for(0, rows, kRowGrain, [&](int64_t first, int64_t last) {
    std::vector<int64_t> by_channel(sigmas * channels), by_kind(sigmas * kTokenKinds);
    std::vector<int32_t> outside(channels);
    for (int64_t row = first; row < last; ++row) {
      const auto index = static_cast<size_t>(seen_rows_ + row);
      // Most rows have no outlier.
      if (summary_.row_min[index] >= low_[0] && summary_.row_max[index] <= high_[0]) continue;
      const int64_t kind = tokens == nullptr ? 0 : static_cast<int64_t>(tokens->kinds[index]);
      const float* values = x + row * static_cast<int64_t>(channels);
      const int64_t count = kernels::find_outside(values, static_cast<int64_t>(channels), low_[0],
                                                  high_[0], outside.data());
      for (int64_t i = 0; i < count; ++i) {
        const auto channel = static_cast<size_t>(outside[i]);
        const float value = values[channel];
        for (size_t s = 0; s < sigmas && (value < low_[s] || value > high_[s]); ++s) {
          ++by_channel[s * channels + channel];
          ++by_kind[s * kTokenKinds + kind];
          if (options_.all_tokens) ++summary_.row_beyond[index * sigmas + s];
        }
      }
    }
    const std::lock_guard lock(mutex);
    std::transform(by_channel.begin(), by_channel.end(), summary_.channel_beyond.begin(),
                   summary_.channel_beyond.begin(), std::plus<>());
    for (size_t s = 0; s < sigmas; ++s) {
      for (int kind = 0; tokens != nullptr && kind < kTokenKinds; ++kind) {
        summary_.kinds[kind].beyond[s] += by_kind[s * kTokenKinds + kind];
      }
    }
  });
}

void SiteStatistics::count_attention(const AttentionValues& values) {
  for (int64_t i = 0; i < values.sequences(); ++i) {
    for (const int64_t head : candidates_) {
      const int64_t size = values.head_size(i);
      const float* x = values.values + values.begin[i] + head * size;
      for (size_t s = 0; s < low_.size(); ++s) {
        int64_t outside = 0;
        for (int64_t k = 0; k < size; ++k) outside += (x[k] < low_[s]) | (x[k] > high_[s]);
        summary_.channel_beyond[static_cast<int64_t>(s) * values.heads + head] += outside;
      }
    }
  }
}

void SiteStatistics::describe_extremes(const float* x, int64_t rows) {
  const auto features = static_cast<int64_t>(summary_.channels.size());
  const double mean = summary_.all.mean;
  for (ExtremeRow& extreme : summary_.extremes) {
    const int64_t row = extreme.row - seen_rows_;
    if (row < 0 || row >= rows) continue;
    const float* values = x + row * features;
    kernels::add_statistics(values, 1, features, {}, nullptr, &extreme.moments);
    const float* furthest = std::max_element(values, values + features, [&](float a, float b) {
      return std::abs(a - mean) < std::abs(b - mean);
    });
    extreme.channel = furthest - values;
    extreme.value = *furthest;
    for (const int64_t channel : candidates_) {
      for (size_t s = 0; s < low_.size(); ++s) {
        extreme.beyond[s] += values[channel] < low_[s] || values[channel] > high_[s] ? 1 : 0;
      }
    }
  }
}

void SiteStatistics::add_histograms(const float* x, int64_t size) {
  const float low = summary_.all.min, high = summary_.all.max;
  if (low < high && std::isfinite(high - low)) {
    kernels::add_to_histogram(host_device(), x, size, &low, &high, options_.bins,
                              /*magnitudes=*/false, summary_.histogram.data());
  }
  count_magnitudes(x, size, summary_.log_histogram);
}

SiteSummary SiteStatistics::end_counting() {
  const size_t channels = summary_.channels.size();
  for (size_t i = 0; i < summary_.channel_beyond.size(); ++i) {
    summary_.beyond[i / channels] += summary_.channel_beyond[i];
  }
  const auto begin = summary_.log_histogram.begin();
  const auto first = begin + kFirstLogBin, last = first + kLogBins;
  summary_.log_below = std::accumulate(begin, first, int64_t{0});
  summary_.log_above = std::accumulate(last, summary_.log_histogram.end(), int64_t{0});
  summary_.log_histogram = std::vector<int64_t>(first, last);
  return std::move(summary_);
}

}  // namespace quell
