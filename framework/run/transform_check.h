// A step that rewrites the float network, and how far that moves what it gives.
#pragma once

#include <string>

#include "framework/model/pipeline.h"
#include "framework/record/run_record.h"

namespace quell {

struct CheckOptions {
  bool from_original = false;  // the step is the first: the network in front of it is the original
  bool by_layer = false;       // passes over the calibration set take long, and are kept
};

// Runs the step, and compares the float outputs of the calibration set before and after it.
TransformCheck run_checked(Step& step, const std::string& name, PipelineContext& context,
                           const CheckOptions& options);

}  // namespace quell
