// How two runs differ.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "framework/sweep/predictions.h"

namespace quell {

// A key whose values differ; none where a run does not have it.
struct Difference {
  std::string key;
  std::optional<std::string> a, b;
};

struct MetricPair {
  std::string name;
  double a = 0, b = 0;  // NaN where a run does not have it
};

// An example that the runs answer differently.
struct FlippedExample {
  ExampleKey key;
  std::optional<double> label;
  std::string a, b;  // class or text
};

struct StageComparison {
  std::string stage;
  std::vector<MetricPair> metrics;
  int64_t examples = 0;  // that both have
  int64_t unequal = 0;   // outputs not equal to the last bit
  int64_t flipped = 0;   // other class, or other text
  // Of the flipped ones: right in b only, right in a only; and the exact McNemar test of the two.
  int64_t gained = 0, lost = 0;
  std::optional<double> p;        // none without classes and labels
  double largest_difference = 0;  // of a logit
  std::vector<FlippedExample> first;
};

struct Comparison {
  std::vector<Difference> config;        // resolved experiments
  std::vector<Difference> environment;   // without times
  std::vector<StageComparison> stages;   // that both have
  std::vector<std::string> equal_files;  // of those that repeat: byte by byte
};

// Compares two run folders; keeps the first `examples` flips of each stage. Throws DataError.
Comparison compare_runs(const std::filesystem::path& a, const std::filesystem::path& b,
                        int64_t examples);

}  // namespace quell
