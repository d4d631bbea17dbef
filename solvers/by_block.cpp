// Solvers on one block after another: each block is calibrated on what the quantized blocks in
// front of it give.

#include <fmt/format.h>

#include "framework/base/error.h"
#include "framework/model/pipeline.h"
#include "framework/plugin/choice.h"
#include "framework/plugin/registry.h"

namespace quell {
namespace {

struct Params {
  std::vector<StepChoice> steps;

  template <class V>
  static void describe(V& v) {
    v("steps", &Params::steps,
      "solvers that run on a block, in this order, before the next one: those that need not see "
      "the whole network, as `calibrate`; the list may stand for the parameters",
      required(), non_empty());
  }
  static void check(const Params& params, Report& report);
};

void Params::check(const Params& params, Report& report) {
  for (const StepChoice& step : params.steps) {
    if (!step.resolved()) continue;  // told already
    if (step.solver() != nullptr && step.solver()->create(step.params())->works_by_segment()) {
      continue;
    }
    report.problem("steps", fmt::format("{} needs the whole network; run it outside of by_block",
                                        step.name()));
  }
}

class ByBlock final : public Solver {
 public:
  explicit ByBlock(const Params& params) : params_(params) {}

  void run(PipelineContext& context) override {
    if (context.calibration.empty()) {
      throw ConfigError("by_block: no calibration batches; raise calibration.samples");
    }
    std::vector<ModelInput> inputs;
    for (const Batch& batch : context.calibration) inputs.push_back(context.model.bind(batch));
    const std::unique_ptr<StateStore> states = context.execution->new_states(inputs.size());
    context.execution->for_each_segment([&](const Segment& segment) {
      run_block(context, segment, inputs, *states);
      advance(context, segment, inputs, *states);
    });
  }

  bool works_by_segment() const override { return true; }

 private:
  void run_block(PipelineContext& context, const Segment& segment,
                 std::span<const ModelInput> inputs, StateStore& states) const {
    PipelineContext block{context.model,
                          context.points,
                          context.calibration,
                          context.log,
                          execute_segment(segment, inputs, states),
                          context.model.sites_of(segment)};
    block.seed = context.seed;
    for (const StepChoice& step : params_.steps) step.solver()->create(step.params())->run(block);
    for (Record& record : block.records) context.records.push_back(std::move(record));
  }

  // Puts the states behind the block in place of those in front of it.
  static void advance(const PipelineContext& context, const Segment& segment,
                      std::span<const ModelInput> inputs, StateStore& states) {
    const Pass pass(context.points, {.quantize = context.points.calibrated(
                                         true, true, context.model.sites_of(segment))});
    for (size_t batch = 0; batch < inputs.size(); ++batch) {
      State state = states.take(batch);
      segment.run(state, inputs[batch], pass);
      states.put(batch, std::move(state));
    }
  }

  Params params_;
};

}  // namespace

void register_solver_by_block(Plugins& plugins) {
  add_plugin<ByBlock, Params>(
      plugins.solvers, "by_block",
      "Run solvers on one block after another, each on what the quantized ones before it give.",
      "as in block-wise calibration of large models (GPTQ, BRECQ)");
}

}  // namespace quell
