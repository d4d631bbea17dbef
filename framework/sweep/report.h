// A table of the metrics of many runs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "framework/sweep/runs.h"
#include "framework/sweep/statistics.h"

namespace quell {

enum class Best { kColumn, kRow, kNone };

// Keys are those of an experiment (see Run::value()), `stage` and `metric`.
struct ReportOptions {
  std::vector<std::string> rows;     // empty: what the sweeps swept, but seeds; else `name`
  std::vector<std::string> columns;  // empty: the last numeric one of them
  std::vector<std::string> metrics;  // empty: the main one of each run; `all`
  std::vector<std::string> stages;   // empty: `quantized`, else the last one of a run; `all`
  std::string baseline;              // `key=value`: what the others are tested against
  Best best = Best::kColumn;         // where the best mean is looked for
};

// One place of the table: runs that differ in nothing that rows and columns name.
struct ReportCell {
  int64_t expected = 0;        // runs that belong here
  std::vector<double> values;  // of those that are complete
  double mean = 0;
  double deviation = 0;  // standard deviation with n - 1
  Interval interval;     // bootstrap_interval()
  // Sign-flip test of the share of correct examples against the baseline: per example the mean over
  // runs. None for the baseline itself, and where predictions have no classes.
  std::optional<double> p;
  bool best = false;
  std::string stage, metric;
  bool percent = true;  // a metric in [-1, 1]
};

struct ReportTable {
  std::vector<std::string> row_keys, column_keys;
  std::vector<std::vector<std::string>> rows, columns;  // their values
  std::vector<std::vector<ReportCell>> cells;           // [rows][columns]
  std::vector<std::string> averaged;                    // keys that differ inside of cells
  std::string metric;                                   // where there is only one
  std::string stage;
  std::string baseline;
};

// Throws ConfigError for keys, metrics or stages that no run has, DataError for damaged runs.
ReportTable make_report(const RunList& list, const ReportOptions& options);

}  // namespace quell
