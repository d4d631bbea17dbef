#include "tasks/metrics/named.h"

#include <fmt/format.h>
#include <algorithm>

#include "framework/base/error.h"
#include "framework/base/suggest.h"
#include "tasks/metrics/classification.h"
#include "tasks/metrics/correlation.h"

namespace quell {

const std::vector<std::string>& metric_names() {
  static const std::vector<std::string> names = {"accuracy", "f1", "matthews_correlation",
                                                 "pearson", "spearman"};
  return names;
}

bool is_correlation(const std::string& name) { return name == "pearson" || name == "spearman"; }

void check_metric_name(const std::string& name) {
  const auto& names = metric_names();
  if (std::find(names.begin(), names.end(), name) != names.end()) return;
  throw ConfigError(fmt::format("unknown metric \"{}\"{}", name, did_you_mean(name, names)));
}

double class_metric(const std::string& name, std::span<const int64_t> predictions,
                    std::span<const int64_t> labels) {
  if (name == "accuracy") return accuracy(predictions, labels);
  if (name == "f1") return f1(predictions, labels);
  QUELL_ASSERT(name == "matthews_correlation", "not a metric of classes: " + name);
  return matthews_correlation(predictions, labels);
}

double score_metric(const std::string& name, std::span<const double> predictions,
                    std::span<const double> labels) {
  if (name == "pearson") return pearson(predictions, labels);
  QUELL_ASSERT(name == "spearman", "not a metric of scores: " + name);
  return spearman(predictions, labels);
}

}  // namespace quell
