// What is known about the values of one activation site over the calibration set.
#pragma once

#include <ATen/core/Tensor.h>
#include <array>
#include <cstdint>
#include <vector>

#include "framework/kernels/statistics.h"
#include "framework/outliers/calibration_tokens.h"

namespace quell {

// What the rows of a site are.
enum class RowKind {
  kTokens,
  kTargets,    // tokens of the decoder
  kSequences,  // pooled
  kOther,
  kAttention,  // the matrix [queries, keys] of each head and sequence; channels are heads
};
// "token", "target", "sequence", "row", "attention".
const char* to_string(RowKind kind);

// One of the rows that reach furthest from the mean of the site.
struct ExtremeRow {
  int64_t row = 0;
  int64_t channel = 0;  // of the value that is furthest away
  float value = 0;
  kernels::Moments moments;
  std::vector<int64_t> beyond;  // [sigmas]
};

// Rows that belong to tokens of one kind.
struct KindSummary {
  int64_t rows = 0;
  double mean_min = 0, mean_max = 0;  // of the rows' extremes
  std::vector<int64_t> beyond;        // [sigmas], values
};

// Attention paid to some keys, as a mean over all queries that are not padding; [heads].
struct AttentionMass {
  std::vector<double> first, last, separators;
};

// Of |x|: kLogBinsPerOctave bins of equal width in each octave from 2^kLowestOctave up to
// 2^kHighestOctave.
inline constexpr int kLogBinsPerOctave = 4;
inline constexpr int kLowestOctave = -24;
inline constexpr int kHighestOctave = 16;
inline constexpr int kLogBins = (kHighestOctave - kLowestOctave) * kLogBinsPerOctave;
// The kLogBins + 1 edges.
std::vector<double> log_bin_edges();

struct SiteSummary {
  RowKind rows = RowKind::kOther;
  int64_t row_count = 0;
  kernels::Moments all;
  std::vector<kernels::Moments> channels;      // [channels]
  std::vector<int64_t> beyond;                 // [sigmas]
  std::vector<int64_t> channel_beyond;         // [sigmas, channels]
  std::vector<float> row_min, row_max;         // [rows]
  std::vector<int32_t> row_beyond;             // [rows, sigmas], with `all_tokens`
  std::vector<ExtremeRow> extremes;            // the furthest first
  std::array<KindSummary, kTokenKinds> kinds;  // where rows are tokens
  std::vector<int64_t> histogram;              // [bins] from all.min to all.max
  std::vector<int64_t> log_histogram;          // [kLogBins]
  int64_t log_below = 0, log_above = 0;        // outside of these bins
  AttentionMass attention;                     // of probabilities
  std::vector<at::Tensor> raw;                 // pieces [rows, channels]

  double deviation() const;  // standard deviation of all values
  // How far the furthest value of a channel lies from the site's mean, in standard deviations of
  // the site; 0 where that is not defined.
  double reach(const kernels::Moments& part) const;
  // Channels by reach, the furthest first; at most `count`.
  std::vector<int64_t> top_channels(int64_t count) const;
};

}  // namespace quell
