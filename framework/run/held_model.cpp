#include "framework/run/held_model.h"

#include <fmt/format.h>
#include <algorithm>

#include "framework/base/error.h"
#include "framework/model/decoding.h"
#include "framework/model/lean_execution.h"
#include "framework/model/make_step.h"
#include "framework/quant/device.h"

namespace quell {
namespace {

// What needs tensors of several layers at once.
void check_by_layer(const Bench& bench) {
  const auto refuse = [](const std::string& what) {
    throw ConfigError(fmt::format(
        "model.by_layer: {} needs the whole model in memory; leave `by_layer` out", what));
  };
  for (const StepChoice& step : bench.spec.pipeline) {
    if (!make_step(step)->works_by_segment(*bench.model)) refuse("the step " + step.name());
  }
  if (bench.spec.record.outliers) refuse("record.outliers");
  if (bench.model->writes_text() && !is_decoder(*bench.model)) refuse("writing text");
}

// Who keeps weights where the quantized network is all that is computed with the model, and its
// floats need not all be there; else null.
const WeightKeeper* keeper(const Bench& bench) {
  const ExperimentSpec& spec = bench.spec;
  const bool is_only_quantized = spec.stages == std::vector{Stage::kQuantized};
  if (!is_only_quantized || bench.model->writes_text() || spec.record.outliers ||
      !spec.model.is_on_cpu()) {
    return nullptr;
  }
  for (const StepChoice& choice : spec.pipeline) {
    const auto step = make_step(choice);
    if (step->rewrites() || !step->works_by_segment(*bench.model)) return nullptr;
  }
  return dynamic_cast<const WeightKeeper*>(bench.engine.get());
}

}  // namespace

HeldModel hold_model(Bench& bench, SitePoints& points, bool evaluated_only,
                     const std::filesystem::path& progress) {
  Model& model = *bench.model;
  const ModelOptions& options = bench.spec.model;
  if (!bench.tensors) bench.checkpoint->require_weights();
  model.set_devices(available_devices(options.device));
  const int64_t device_bytes = options.device_memory ? *options.device_memory << 20 : kNoLimit;
  const WeightKeeper* kept_by = evaluated_only && !options.by_layer ? keeper(bench) : nullptr;
  const bool whole = !options.by_layer && kept_by == nullptr;
  if (whole) model.load(*bench.checkpoint);
  HeldModel held;
  held.rewrites = std::make_shared<Rewrites>(model, points);
  if (whole) {
    held.execution = execute_whole(model, device_bytes);
  } else if (kept_by != nullptr) {
    held.execution = execute_lean(model, *bench.tensors, points, *kept_by);
  } else {
    check_by_layer(bench);
    held.residency = one_at_a_time(model, *bench.tensors, points, *held.rewrites);
    std::filesystem::path folder;
    if (options.by_layer->states == StatesIn::kDisk) {
      folder = progress.empty() ? std::filesystem::temp_directory_path() : progress;
      std::filesystem::create_directories(folder);
    }
    held.execution = execute_by_segment(model, *held.residency, points, folder, device_bytes);
  }
  return held;
}

}  // namespace quell
