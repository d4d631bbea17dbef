#include "framework/sweep/report_items.h"

#include <fmt/format.h>
#include <algorithm>
#include <map>
#include <set>

#include "framework/base/error.h"
#include "framework/base/suggest.h"
#include "framework/sweep/predictions.h"
#include "framework/sweep/sweep_file.h"

namespace quell {
namespace {

bool is_all(const std::vector<std::string>& names) {
  return names.size() == 1 && names[0] == "all";
}

std::vector<std::string> stages_of(const Run& run, const std::vector<std::string>& asked) {
  std::vector<std::string> own;
  for (const auto& [stage, metrics] : run.stages) own.push_back(stage);
  if (is_all(asked)) return own;
  if (!asked.empty()) {
    std::vector<std::string> both;
    for (const std::string& stage : asked) {
      if (std::find(own.begin(), own.end(), stage) != own.end()) both.push_back(stage);
    }
    return both;
  }
  if (std::find(own.begin(), own.end(), "quantized") != own.end()) return {"quantized"};
  return own.empty() ? own : std::vector<std::string>{own.back()};
}

void add_items(const Run& run, const std::vector<std::string>& stages,
               const std::vector<std::string>& metrics, std::vector<ReportItem>& items) {
  for (const std::string& wanted : stages_of(run, stages)) {
    for (const auto& [stage, values] : run.stages) {
      if (stage != wanted) continue;
      for (size_t i = 0; i < values.size(); ++i) {
        const auto& name = values[i].first;
        const bool asked =
            metrics.empty() ? i == 0
                            : is_all(metrics) ||
                                  std::find(metrics.begin(), metrics.end(), name) != metrics.end();
        if (asked) items.push_back({&run, stage, name, values[i].second});
      }
    }
  }
}

size_t likeness(const Run& a, const Run& b) {
  size_t equal = 0;
  for (const auto& [key, value] : a.settings) equal += b.value(key) == value;
  return equal;
}

// Every asked name must occur somewhere.
void check_names(const std::vector<std::string>& asked, const std::set<std::string>& known,
                 const char* what) {
  if (is_all(asked)) return;
  const std::vector<std::string> names(known.begin(), known.end());
  for (const std::string& name : asked) {
    if (known.count(name) > 0) continue;
    throw ConfigError(
        fmt::format("no run has the {} \"{}\"{}", what, name, did_you_mean(name, names)));
  }
}

}  // namespace

std::string ReportItem::text(const std::string& key) const {
  if (key == "stage") return stage;
  if (key == "metric") return metric;
  return run->value(key).value_or("");
}

std::vector<ReportItem> all_items(const RunList& list) {
  std::vector<ReportItem> items;
  for (const Run& run : list.runs) add_items(run, {"all"}, {"all"}, items);
  return items;
}

std::vector<ReportItem> shown_items(const RunList& list, const ReportOptions& options) {
  std::set<std::string> stages, metrics;
  for (const ReportItem& item : all_items(list)) {
    stages.insert(item.stage);
    metrics.insert(item.metric);
  }
  check_names(options.stages, stages, "stage");
  check_names(options.metrics, metrics, "metric");
  std::vector<ReportItem> items;
  for (const Run& run : list.runs) {
    if (run.complete) {
      add_items(run, options.stages, options.metrics, items);
      continue;
    }
    const Run* like = nullptr;
    for (const Run& other : list.runs) {
      if (!other.complete) continue;
      if (like == nullptr || likeness(run, other) > likeness(run, *like)) like = &other;
    }
    if (like == nullptr) continue;
    std::vector<ReportItem> models;
    add_items(*like, options.stages, options.metrics, models);
    for (const ReportItem& model : models) {
      items.push_back({&run, model.stage, model.metric, 0, false});
    }
  }
  return items;
}

BaselineTest::BaselineTest(const std::string& text, const RunList& list,
                           std::vector<std::string> keys)
    : items_(all_items(list)) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos) {
    throw ConfigError(
        fmt::format("--baseline {}: expected key=value, such as base=minmax.yaml", text));
  }
  key_ = text.substr(0, equals);
  value_ = text.substr(equals + 1);
  if (std::none_of(items_.begin(), items_.end(),
                   [&](const ReportItem& item) { return matches(item); })) {
    std::set<std::string> values;
    for (const ReportItem& item : items_) values.insert(short_value(item.text(key_)));
    const std::vector<std::string> known(values.begin(), values.end());
    throw ConfigError(
        fmt::format("--baseline {}: no run has it{}", text, did_you_mean(value_, known)));
  }
  // Pairs agree in everything else that was swept or is shown. What changes together with the key
  // differs, too.
  std::set<std::string> same(keys.begin(), keys.end());
  for (const Run& run : list.runs) {
    for (const auto& [key, value] : run.settings) same.insert(key);
  }
  same.insert({"seed", "stage", "metric"});
  same.erase(key_);
  for (const auto& axis : list.axes) {
    if (std::find(axis.begin(), axis.end(), key_) == axis.end()) continue;
    for (const std::string& key : axis) same.erase(key);
  }
  same_.assign(same.begin(), same.end());
}

bool BaselineTest::matches(const ReportItem& item) const {
  const std::string text = item.text(key_);
  return text == value_ || short_value(text) == value_;
}

const ReportItem* BaselineTest::partner(const ReportItem& item) const {
  for (const ReportItem& other : items_) {
    if (!matches(other)) continue;
    const bool agrees = std::all_of(same_.begin(), same_.end(), [&](const std::string& key) {
      return item.text(key) == other.text(key);
    });
    if (agrees) return &other;
  }
  return nullptr;
}

std::optional<double> BaselineTest::p(const std::vector<const ReportItem*>& items) const {
  std::map<ExampleKey, double> differences;
  for (const ReportItem* item : items) {
    if (!item->complete) continue;
    if (matches(*item)) return {};
    const ReportItem* baseline = partner(*item);
    if (baseline == nullptr) return {};
    const auto ours = read_predictions(item->run->folder, item->stage);
    const auto theirs = read_predictions(baseline->run->folder, baseline->stage);
    for (const auto& [key, example] : ours) {
      const auto other = theirs.find(key);
      if (other == theirs.end()) continue;
      const auto score = example.correct(), other_score = other->second.correct();
      if (!score || !other_score) return {};
      differences[key] += *score - *other_score;
    }
  }
  if (differences.empty()) return {};
  std::vector<double> values;
  for (const auto& [key, difference] : differences) values.push_back(difference);
  return sign_flip_p(values);
}

}  // namespace quell
