// The numbers that a report arranges: one per run, stage and metric.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "framework/sweep/report.h"

namespace quell {

struct ReportItem {
  const Run* run;
  std::string stage, metric;
  double value = 0;
  bool complete = true;  // false: a cell of a sweep that is not done

  // Of a setting, `stage` or `metric`; "" when the run has no such key.
  std::string text(const std::string& key) const;
};

// What is asked for, in the order of the runs. Runs that are not complete get the stage and metric
// of the complete one that is most like them.
std::vector<ReportItem> shown_items(const RunList& list, const ReportOptions& options);

// All stages and metrics of all complete runs, to find baselines in.
std::vector<ReportItem> all_items(const RunList& list);

// Tests items against the baseline `key=value`.
class BaselineTest {
 public:
  // Throws ConfigError when the text is no `key=value` or no run has it.
  BaselineTest(const std::string& text, const RunList& list, std::vector<std::string> keys);

  // ReportCell::p of a cell with these items.
  std::optional<double> p(const std::vector<const ReportItem*>& items) const;

 private:
  bool matches(const ReportItem& item) const;
  const ReportItem* partner(const ReportItem& item) const;

  std::string key_, value_;
  std::vector<std::string> same_;  // keys in which a pair agrees
  std::vector<ReportItem> items_;
};

}  // namespace quell
