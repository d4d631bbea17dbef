#include "framework/model/pipeline.h"

namespace quell {

std::vector<Outputs> calibration_outputs(const PipelineContext& context) {
  std::vector<Outputs> outputs;
  for (const Batch& batch : context.calibration) {
    outputs.push_back(context.model.forward(batch, context.quant));
  }
  return outputs;
}

const std::vector<Outputs>& original_outputs(PipelineContext& context) {
  if (context.float_outputs.empty()) context.float_outputs = calibration_outputs(context);
  return context.float_outputs;
}

std::vector<Outputs> target_outputs(PipelineContext& context, Targets targets) {
  return targets == Targets::kOriginal ? original_outputs(context) : calibration_outputs(context);
}

}  // namespace quell
