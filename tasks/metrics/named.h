// Metrics by the names under which they appear in results and in YAML.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace quell {

// "accuracy", "f1" (of class 1), "matthews_correlation", "pearson", "spearman".
const std::vector<std::string>& metric_names();

// "pearson" and "spearman": computed from scores, not from classes.
bool is_correlation(const std::string& name);

// Throws ConfigError with a suggestion for an unknown name.
void check_metric_name(const std::string& name);

double class_metric(const std::string& name, std::span<const int64_t> predictions,
                    std::span<const int64_t> labels);
double score_metric(const std::string& name, std::span<const double> predictions,
                    std::span<const double> labels);

}  // namespace quell
