// The memory column of the third paper: bytes of a model's parameters at the chosen bit widths.
#pragma once

#include <span>

#include "framework/model/model.h"
#include "framework/record/run_record.h"
#include "framework/run/quant_rules.h"

namespace quell {

// Scales and zero points are not counted, as in the paper.
ModelSize model_size(const Model& model, std::span<const SitePlan> plan);

}  // namespace quell
