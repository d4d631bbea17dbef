// A model orders its classes as it likes; GLUE has an order of its own.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "tasks/data/glue_spec.h"

namespace quell {

// Entry i is the position in GlueSpec::label_names of the model's class i.
using LabelOrder = std::vector<int64_t>;

// The order that the model's config.json states in `id2label` or `label2id`. Names such as LABEL_0
// say nothing and mean the order of GLUE. Throws DataError when the number of classes or their
// names do not fit the task, showing both lists.
LabelOrder label_order(const GlueSpec& spec, const nlohmann::json& config);

// The order stated by a list of names; `origin` says for messages where it comes from.
LabelOrder label_order(const GlueSpec& spec, const std::vector<std::string>& names,
                       const std::string& origin);

// The order of GLUE.
LabelOrder glue_order(const GlueSpec& spec);

// The model's class that stands for a position in GlueSpec::label_names.
int64_t model_class(const LabelOrder& order, int64_t position);

}  // namespace quell
