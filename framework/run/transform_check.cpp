#include "framework/run/transform_check.h"

#include <ATen/ops/abs.h>
#include <ATen/ops/max.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/tensor.h>
#include <algorithm>
#include <vector>

namespace quell {
namespace {

constexpr const char *kDifference = "max_difference", *kOutput = "max_output";

double largest(const at::Tensor& values) {
  return values.numel() == 0 ? 0 : at::max(at::abs(values)).item<double>();
}

}  // namespace

TransformCheck run_checked(Step& step, const std::string& name, PipelineContext& context,
                           const CheckOptions& options) {
  TransformCheck check{name};
  StepProgress progress = options.by_layer ? context.progress.part("check") : StepProgress();
  if (const NamedTensors& known = progress.saved(); !known.empty()) {
    step.run(context);
    check.max_difference = stored_tensor(known, kDifference).item<double>();
    check.max_output = stored_tensor(known, kOutput).item<double>();
    return check;
  }
  const std::vector<Outputs> before =
      options.from_original ? original_outputs(context) : calibration_outputs(context, "before");
  step.run(context);
  const std::vector<Outputs> after = calibration_outputs(context, "after");
  for (size_t i = 0; i < before.size(); ++i) {
    for (const auto& [output_name, output] : before[i]) {
      check.max_difference =
          std::max(check.max_difference, largest(at::sub(after[i].at(output_name), output)));
      check.max_output = std::max(check.max_output, largest(output));
    }
  }
  progress.save({{kDifference, at::tensor(check.max_difference, at::kDouble)},
                 {kOutput, at::tensor(check.max_output, at::kDouble)}});
  if (options.by_layer) {
    for (const char* pass : {"before", "after"}) context.progress.remove_part(pass);
  }
  return check;
}

}  // namespace quell
