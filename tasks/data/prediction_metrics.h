// Metrics of any classifier or regression, straight from its predictions.
#pragma once

#include <string>
#include <vector>

#include "framework/task/task.h"

namespace quell {

// The metrics `names` (metric_names()); empty names mean accuracy, or pearson and spearman where
// the model has a single output. Every prediction has a label. Without "logits": none. Throws
// DataError naming `origin` for a label that is no class of the model.
Metrics prediction_metrics(const std::vector<std::string>& names,
                           const std::vector<Prediction>& predictions, const std::string& origin);

}  // namespace quell
