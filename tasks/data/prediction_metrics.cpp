#include "tasks/data/prediction_metrics.h"

#include <fmt/format.h>

#include "framework/base/error.h"
#include "tasks/data/batching.h"
#include "tasks/metrics/named.h"

namespace quell {
namespace {

std::vector<std::string> names_for(const std::vector<std::string>& names, size_t columns) {
  if (!names.empty()) return names;
  if (columns > 1) return {"accuracy"};
  return {"pearson", "spearman"};
}

void check_label(const Prediction& prediction, size_t columns, const std::string& origin) {
  const auto label = static_cast<int64_t>(*prediction.label);
  if (label >= 0 && label < static_cast<int64_t>(columns)) return;
  throw DataError(fmt::format("{}: label {} of sequence {}, but the model has classes 0 to {}",
                              origin, *prediction.label, prediction.index, columns - 1));
}

}  // namespace

Metrics prediction_metrics(const std::vector<std::string>& names,
                           const std::vector<Prediction>& predictions, const std::string& origin) {
  std::vector<double> scores, labels;
  std::vector<int64_t> classes, label_classes;
  size_t columns = 0;
  for (const Prediction& prediction : predictions) {
    const auto found = prediction.outputs.find("logits");
    if (found == prediction.outputs.end()) return {};
    columns = found->second.size();
    if (columns > 1) check_label(prediction, columns, origin);
    scores.push_back(found->second.front());
    labels.push_back(*prediction.label);
    classes.push_back(argmax(found->second));
    label_classes.push_back(static_cast<int64_t>(*prediction.label));
  }
  Metrics result;
  for (const std::string& name : names_for(names, columns)) {
    result.emplace_back(name, is_correlation(name) ? score_metric(name, scores, labels)
                                                   : class_metric(name, classes, label_classes));
  }
  return result;
}

}  // namespace quell
