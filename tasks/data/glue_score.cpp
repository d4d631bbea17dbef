#include "tasks/data/glue_score.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <map>

#include "framework/base/error.h"
#include "tasks/data/batching.h"
#include "tasks/data/stored_predictions.h"
#include "tasks/metrics/named.h"

namespace quell {
namespace {

std::string metric_suffix(const std::string& set) {
  return set.starts_with("dev_") ? set.substr(3) : "";
}

// Examples in the order of the predictions that belong to them.
using Matched = std::vector<const GlueExample*>;

Matched match_examples(const GlueData& data, const StoredPredictions& stored,
                       const std::string& file) {
  std::map<int64_t, const GlueExample*> open;
  for (const GlueExample& example : data.examples) open.emplace(example.index, &example);
  Matched matched;
  for (const StoredPrediction& prediction : stored.lines) {
    const size_t position = matched.size();
    if (!prediction.index && position >= data.examples.size()) {
      throw DataError(fmt::format("{}:{}: more predictions than the {} examples of {}", file,
                                  prediction.line, data.examples.size(), data.file.string()));
    }
    const int64_t index = prediction.index ? *prediction.index : data.examples[position].index;
    const auto found = open.find(index);
    if (found == open.end()) {
      throw DataError(fmt::format("{}:{}: index {} appears twice or is no example of {}", file,
                                  prediction.line, index, data.file.string()));
    }
    matched.push_back(found->second);
    open.erase(found);
  }
  std::erase_if(open, [](const auto& entry) { return !entry.second->label; });
  if (!open.empty()) {
    throw DataError(fmt::format("{}: {} examples of {} have no prediction, first index {}", file,
                                open.size(), data.file.string(), open.begin()->first));
  }
  return matched;
}

// The order that the lines of a run imply: each states the model's class of its label, the data
// file the label itself. A class that never occurs keeps its place if all others do.
LabelOrder implied_order(const GlueSpec& spec, const StoredPredictions& stored,
                         const Matched& matched, const std::string& file) {
  LabelOrder order(spec.labels(), -1);
  bool swapped = false;
  for (size_t i = 0; i < matched.size(); ++i) {
    const StoredPrediction& line = stored.lines[i];
    if (!line.label || !matched[i]->label) continue;
    const auto label = static_cast<int64_t>(*matched[i]->label);
    const auto model_label = static_cast<int64_t>(*line.label);
    const bool in_range = model_label >= 0 && model_label < spec.labels();
    if (!in_range || (order[model_label] != -1 && order[model_label] != label)) {
      throw DataError(fmt::format(
          "{}:{}: label {} contradicts the data file ({}) or earlier lines; do the two files "
          "belong together?",
          file, line.line, model_label, spec.label_names[label]));
    }
    order[model_label] = label;
    swapped = swapped || model_label != label;
  }
  for (int64_t position = 0; position < spec.labels(); ++position) {
    if (std::find(order.begin(), order.end(), position) != order.end()) continue;
    const auto vacant = std::find(order.begin(), order.end(), int64_t{-1});
    if (!swapped && order[position] == -1) {
      order[position] = position;
    } else if (std::count(order.begin(), order.end(), int64_t{-1}) == 1) {
      *vacant = position;
    } else {
      throw ConfigError(
          fmt::format("{}: the order of the model's classes is not clear; state it "
                      "with --labels, e.g. {}",
                      file, fmt::join(spec.label_names, " ")));
    }
  }
  return order;
}

LabelOrder order_of(const GlueSpec& spec, const ScoreOptions& options,
                    const StoredPredictions& stored, const Matched& matched) {
  if (!options.labels.empty()) return label_order(spec, options.labels, "--labels");
  if (spec.is_regression() || stored.lines.front().logits.empty()) return glue_order(spec);
  return implied_order(spec, stored, matched, options.predictions.string());
}

double value_of(const GlueSpec& spec, const LabelOrder& order, const StoredPrediction& line,
                const std::string& file) {
  if (!line.logits.empty()) {
    if (static_cast<int64_t>(line.logits.size()) == spec.labels()) {
      return glue_prediction(spec, order, line.logits);
    }
    throw DataError(fmt::format("{}:{}: {} logits, expected {} for {}", file, line.line,
                                line.logits.size(), spec.labels(), spec.name));
  }
  // A regression may leave the bounds of the labels.
  const std::optional<double> value =
      spec.is_regression() ? parse_score(line.prediction) : parse_label(spec, line.prediction);
  if (value) return *value;
  throw DataError(fmt::format("{}:{}: unknown prediction \"{}\"; expected for {}: {}", file,
                              line.line, line.prediction, spec.name, known_labels(spec)));
}

}  // namespace

Metrics glue_metrics(const GlueSpec& spec, const std::string& set,
                     const std::vector<GlueExample>& examples,
                     const std::vector<double>& predictions) {
  QUELL_ASSERT(examples.size() == predictions.size(), "one prediction per example");
  std::vector<double> scores;
  std::vector<double> labels;
  for (size_t i = 0; i < examples.size(); ++i) {
    if (!examples[i].label) continue;
    scores.push_back(predictions[i]);
    labels.push_back(*examples[i].label);
  }
  const std::vector<int64_t> classes(scores.begin(), scores.end());
  const std::vector<int64_t> label_classes(labels.begin(), labels.end());
  Metrics metrics;
  for (const std::string& name : spec.metrics) {
    metrics.emplace_back(name + metric_suffix(set),
                         is_correlation(name) ? score_metric(name, scores, labels)
                                              : class_metric(name, classes, label_classes));
  }
  return metrics;
}

double glue_prediction(const GlueSpec& spec, const LabelOrder& order,
                       const std::vector<float>& logits) {
  QUELL_ASSERT(static_cast<int64_t>(logits.size()) == spec.labels(), "one logit per label");
  if (spec.is_regression()) return logits.front();
  return static_cast<double>(order[argmax(logits)]);
}

Metrics score_glue(const GlueSpec& spec, const ScoreOptions& options, const std::string& encoding) {
  const std::string file = options.predictions.string();
  const GlueData data = read_glue(spec, options.data, /*needs_labels=*/true, encoding);
  const StoredPredictions stored = read_predictions(options);
  const Matched matched = match_examples(data, stored, file);
  const LabelOrder order = order_of(spec, options, stored, matched);
  std::vector<GlueExample> examples;
  std::vector<double> predictions;
  for (size_t i = 0; i < matched.size(); ++i) {
    examples.push_back(*matched[i]);
    predictions.push_back(value_of(spec, order, stored.lines[i], file));
  }
  return glue_metrics(spec, stored.set, examples, predictions);
}

}  // namespace quell
