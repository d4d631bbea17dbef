#include "framework/sweep/compare.h"

#include <fmt/format.h>
#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "framework/base/file.h"
#include "framework/config/load.h"
#include "framework/sweep/runs.h"
#include "framework/sweep/statistics.h"

namespace quell {
namespace fs = std::filesystem;
namespace {

// In the order of the first list, what only the second one has at the end.
std::vector<Difference> differences(const Texts& a, const Texts& b) {
  const std::map<std::string, std::string> in_a(a.begin(), a.end()), in_b(b.begin(), b.end());
  std::vector<Difference> result;
  for (const auto& [key, value] : a) {
    const auto other = in_b.find(key);
    if (other == in_b.end()) {
      result.push_back({key, value, {}});
    } else if (other->second != value) {
      result.push_back({key, value, other->second});
    }
  }
  for (const auto& [key, value] : b) {
    if (in_a.count(key) == 0) result.push_back({key, {}, value});
  }
  return result;
}

// environment.json, flat, without what differs between any two runs.
Texts environment(const fs::path& folder) {
  Problems problems;
  Texts entries = flatten(load_yaml(folder / "environment.json", problems));
  std::erase_if(entries, [](const auto& entry) {
    return entry.first == "finished" || entry.first.starts_with("seconds");
  });
  return entries;
}

using Metrics = std::vector<std::pair<std::string, double>>;

const Metrics* metrics_of(const Run& run, const std::string& stage) {
  for (const auto& [name, metrics] : run.stages) {
    if (name == stage) return &metrics;
  }
  return nullptr;
}

std::vector<MetricPair> pairs(const Metrics& a, const Metrics& b) {
  std::vector<MetricPair> result;
  for (const auto& [name, value] : a) result.push_back({name, value, std::nan("")});
  for (const auto& [name, value] : b) {
    const auto same = std::find_if(result.begin(), result.end(),
                                   [&, key = name](const auto& pair) { return pair.name == key; });
    if (same == result.end()) {
      result.push_back({name, std::nan(""), value});
    } else {
      same->b = value;
    }
  }
  return result;
}

std::string answer(const ExamplePrediction& example) {
  if (example.text) return *example.text;
  const auto found = example.predicted_class();
  return found ? fmt::format("{}", *found) : "";
}

void compare_example(const ExampleKey& key, const ExamplePrediction& a, const ExamplePrediction& b,
                     int64_t examples, StageComparison& result) {
  ++result.examples;
  for (size_t i = 0; i < std::min(a.logits.size(), b.logits.size()); ++i) {
    result.largest_difference =
        std::max(result.largest_difference, std::abs(a.logits[i] - b.logits[i]));
  }
  result.unequal += a.logits != b.logits || a.text != b.text;
  const std::string from = answer(a), to = answer(b);
  if (from == to) return;
  ++result.flipped;
  const auto was = a.correct(), is = b.correct();
  if (was && is) {
    result.gained += *was < *is;
    result.lost += *was > *is;
  }
  if (static_cast<int64_t>(result.first.size()) < examples) {
    result.first.push_back({key, a.label, from, to});
  }
}

void compare_predictions(const fs::path& a, const fs::path& b, int64_t examples,
                         StageComparison& result) {
  const auto in_a = read_predictions(a, result.stage), in_b = read_predictions(b, result.stage);
  bool scored = true;
  for (const auto& [key, example] : in_a) {
    const auto other = in_b.find(key);
    if (other == in_b.end()) continue;
    scored &= example.correct() && other->second.correct();
    compare_example(key, example, other->second, examples, result);
  }
  if (scored && result.examples > 0) result.p = mcnemar_p(result.gained, result.lost);
}

}  // namespace

Comparison compare_runs(const fs::path& a, const fs::path& b, int64_t examples) {
  const Run run_a = read_run(a), run_b = read_run(b);
  Comparison result;
  result.config = differences(run_a.config, run_b.config);
  result.environment = differences(environment(a), environment(b));
  for (const auto& [stage, metrics] : run_a.stages) {
    const Metrics* other = metrics_of(run_b, stage);
    if (other == nullptr) continue;
    StageComparison& comparison = result.stages.emplace_back();
    comparison.stage = stage;
    comparison.metrics = pairs(metrics, *other);
    compare_predictions(a, b, examples, comparison);
  }
  for (const char* file :
       {"metrics.json", "predictions.jsonl", "results.h5", "config.resolved.yaml"}) {
    if (fs::exists(a / file) && fs::exists(b / file) &&
        read_file(a / file) == read_file(b / file)) {
      result.equal_files.emplace_back(file);
    }
  }
  return result;
}

}  // namespace quell
