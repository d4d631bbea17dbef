#include "framework/sweep/compare.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <cmath>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/cli/print.h"
#include "framework/cli/verb.h"

namespace quell {
namespace {

namespace po = boost::program_options;
using Json = nlohmann::ordered_json;

void print_differences(const char* title, const std::vector<Difference>& differences) {
  if (differences.empty()) {
    fmt::print("{}: the same\n\n", title);
    return;
  }
  std::vector<std::vector<std::string>> rows = {{title, "a", "b"}};
  for (const Difference& difference : differences) {
    rows.push_back({difference.key, difference.a.value_or("(not there)"),
                    difference.b.value_or("(not there)")});
  }
  fmt::print("{}\n", text_table(rows));
}

std::string number(double value) {
  return std::isnan(value) ? "n/a" : fmt::format("{:.4f}", value);
}

void print_metrics(const Comparison& comparison) {
  std::vector<std::vector<std::string>> rows = {{"stage", "metric", "a", "b", "b - a"}};
  for (const StageComparison& stage : comparison.stages) {
    for (size_t i = 0; i < stage.metrics.size(); ++i) {
      const MetricPair& metric = stage.metrics[i];
      rows.push_back({i == 0 ? stage.stage : "", metric.name, number(metric.a), number(metric.b),
                      number(metric.b - metric.a)});
    }
  }
  fmt::print("{}\n", text_table(rows));
}

void print_predictions(const StageComparison& stage) {
  fmt::print("{}: {} of {} predictions flipped", stage.stage, stage.flipped, stage.examples);
  if (stage.p) {
    fmt::print(" ({} right in b only, {} right in a only; McNemar p = {:.3g})", stage.gained,
               stage.lost, *stage.p);
  }
  fmt::print("; {} outputs differ at all", stage.unequal);
  if (stage.largest_difference > 0)
    fmt::print(", logits by up to {:.4g}", stage.largest_difference);
  fmt::print("\n");
  for (const FlippedExample& example : stage.first) {
    fmt::print("  {} {}: {} -> {}", example.key.first, example.key.second, example.a, example.b);
    if (example.label) fmt::print("  (label {:g})", *example.label);
    fmt::print("\n");
  }
}

Json to_json(const std::vector<Difference>& differences) {
  Json list = Json::array();
  for (const Difference& difference : differences) {
    list.push_back({{"key", difference.key},
                    {"a", difference.a ? Json(*difference.a) : Json()},
                    {"b", difference.b ? Json(*difference.b) : Json()}});
  }
  return list;
}

Json to_json(const StageComparison& stage) {
  Json json;
  json["stage"] = stage.stage;
  for (const MetricPair& metric : stage.metrics) {
    json["metrics"][metric.name] = {{"a", metric.a}, {"b", metric.b}};
  }
  json["examples"] = stage.examples;
  json["unequal"] = stage.unequal;
  json["flipped"] = stage.flipped;
  if (stage.p) {
    json["gained"] = stage.gained;
    json["lost"] = stage.lost;
    json["p"] = *stage.p;
  }
  json["largest_difference"] = stage.largest_difference;
  auto& first = json["first"] = Json::array();
  for (const FlippedExample& example : stage.first) {
    first.push_back({{"set", example.key.first},
                     {"index", example.key.second},
                     {"label", example.label ? Json(*example.label) : Json()},
                     {"a", example.a},
                     {"b", example.b}});
  }
  return json;
}

void print_comparison(const Comparison& comparison) {
  print_differences("experiment", comparison.config);
  print_differences("environment", comparison.environment);
  if (!comparison.stages.empty()) print_metrics(comparison);
  for (const StageComparison& stage : comparison.stages) print_predictions(stage);
  if (comparison.stages.empty()) fmt::print("The runs have no stage in common.\n");
  if (comparison.equal_files.empty()) return;
  fmt::print("equal to the last byte: {}\n", fmt::join(comparison.equal_files, ", "));
}

}  // namespace

int run_compare(const Plugins&, const Arguments& arguments) {
  CommandLine line("compare A B [options]",
                   "Explains how two runs differ: experiment, environment, metrics, and which "
                   "predictions flipped.\nA and B are run folders.");
  line.add()("examples", po::value<int64_t>()->default_value(5),
             "flipped predictions to show of each stage")("json", "print JSON");
  line.positional("runs", 2);
  if (!line.parse(arguments)) return 0;
  const auto runs = line.list("runs");
  if (runs.size() != 2) throw ConfigError("compare needs two run folders");
  const Comparison comparison = compare_runs(runs[0], runs[1], line.get<int64_t>("examples"));
  if (!line.has("json")) {
    print_comparison(comparison);
    return 0;
  }
  Json json = {{"experiment", to_json(comparison.config)},
               {"environment", to_json(comparison.environment)}};
  auto& stages = json["stages"] = Json::array();
  for (const StageComparison& stage : comparison.stages) stages.push_back(to_json(stage));
  json["equal_files"] = comparison.equal_files;
  print_json(json);
  return 0;
}

}  // namespace quell
