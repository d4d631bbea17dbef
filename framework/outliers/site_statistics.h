// Statistics of one activation site over the calibration set, in two passes: moments and ranges
// first; then, with the standard deviation known, exact counts of outliers, and histograms.
#pragma once

#include <ATen/core/Tensor.h>
#include <vector>

#include "framework/model/batch.h"
#include "framework/outliers/attention_values.h"
#include "framework/outliers/calibration_tokens.h"
#include "framework/outliers/outlier_options.h"
#include "framework/outliers/site_summary.h"
#include "framework/quant/site.h"

namespace quell {

// Holds about 100 bytes per channel and 8 bytes per row of the calibration set (4 more per row and
// sigma with `all_tokens`), and while it looks at attention a copy of that matrix of one batch.
class SiteStatistics {
 public:
  // `options` and `tokens` must live as long as this.
  SiteStatistics(const Site& site, const OutlierOptions& options, const CalibrationTokens& tokens,
                 bool keep_raw);

  // First pass, then second pass: the same batches in the same order. rows: [n, features] float32,
  // or [heads * queries, columns] of attention.
  void measure(const Batch& batch, const at::Tensor& rows);
  void count(const Batch& batch, const at::Tensor& rows);
  // Ends a pass.
  void end_measuring();
  SiteSummary end_counting();

 private:
  RowKind kind_of(const Batch& batch) const;
  const TokenColumns* columns() const;
  void measure_attention(const Batch& batch, const at::Tensor& rows);
  void summarize_kinds();
  void choose_extremes();
  void set_limits();
  // Whether channel `channel` has values beyond the first sigma.
  bool is_candidate(int64_t channel) const;
  void count_rows(const float* x, int64_t rows);
  void count_attention(const AttentionValues& values);
  void describe_extremes(const float* x, int64_t rows);
  void add_histograms(const float* x, int64_t size);

  const Site& site_;
  const OutlierOptions& options_;
  const CalibrationTokens& tokens_;
  bool attention_;
  AttentionSides sides_;
  bool keep_raw_;
  int64_t seen_rows_ = 0;  // in this pass
  int64_t seen_keys_ = 0;
  AttentionSums mass_;
  std::vector<float> low_, high_;    // [sigmas], outliers are below or above
  std::vector<int64_t> candidates_;  // channels with outliers
  SiteSummary summary_;
};

}  // namespace quell
