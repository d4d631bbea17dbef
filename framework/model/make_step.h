// A step of a pipeline from its choice in a configuration.
#pragma once

#include <memory>

#include "framework/model/pipeline.h"
#include "framework/plugin/choice.h"

namespace quell {

std::unique_ptr<Step> make_step(const StepChoice& choice);

}  // namespace quell
