// Steps on one block after another: each block is transformed and calibrated on what the quantized
// blocks in front of it give.

#include <fmt/format.h>
#include <algorithm>
#include <memory>

#include "framework/base/error.h"
#include "framework/model/make_step.h"
#include "framework/plugin/choice.h"
#include "framework/plugin/registry.h"
#include "framework/solve/block_progress.h"

namespace quell {
namespace {

struct Params {
  std::vector<StepChoice> steps;

  template <class V>
  static void describe(V& v) {
    v("steps", &Params::steps,
      "transforms and solvers that run on a block, in this order, before the next one: those that "
      "need not see the whole network, as `shift_scale` and `calibrate`; the list may stand for "
      "the parameters",
      required(), non_empty());
  }
  static void check(const Params& params, Report& report);
};

void Params::check(const Params& params, Report& report) {
  for (const StepChoice& step : params.steps) {
    if (!step.resolved()) continue;  // told already
    if (make_step(step)->works_on_block()) continue;
    report.problem("steps", fmt::format("{} needs the whole network; run it outside of by_block",
                                        step.name()));
  }
}

class ByBlock final : public Solver {
 public:
  explicit ByBlock(const Params& params) : params_(params) {
    for (const StepChoice& step : params.steps) steps_.push_back(make_step(step));
  }

  void check(Model& model, const TrainingData* training) const override {
    for (size_t i = 0; i < steps_.size(); ++i) {
      steps_[i]->check(model, training);
      if (steps_[i]->works_by_segment(model)) continue;
      throw ConfigError(
          fmt::format("by_block: {} needs more than one block of this model at a time, because "
                      "what its norms give is read by another block; run it outside of by_block",
                      params_.steps[i].name()));
    }
  }
  std::vector<std::string> additions(Model& model, const SiteSet& quantized) const override {
    std::vector<std::string> all;
    for (const auto& step : steps_) {
      for (std::string& one : step->additions(model, quantized)) all.push_back(std::move(one));
    }
    return all;
  }
  bool works_by_segment(Model& /*model*/) const override { return true; }  // see check()
  bool rewrites() const override {
    return std::any_of(steps_.begin(), steps_.end(),
                       [](const auto& step) { return step->rewrites(); });
  }

  void run(PipelineContext& context) override {
    if (context.calibration.empty()) {
      throw ConfigError("by_block: no calibration batches; raise calibration.samples");
    }
    std::vector<ModelInput> inputs;
    for (const Batch& batch : context.calibration) inputs.push_back(context.model.bind(batch));
    const std::unique_ptr<StateStore> states = context.execution->first_states(inputs.size());
    BlockProgress progress(context);
    progress.take_states(*states, inputs.size());
    const auto left = std::ssize(context.model.segments()) - static_cast<int64_t>(progress.next());
    int64_t done = 0;
    context.execution->for_each_segment(
        [&](const Segment& segment) {
          context.log.progress("by_block", done, left);
          run_block(context, segment, inputs, *states);
          if (++done == left) return;
          advance(context, segment, inputs, *states);
          progress.save(segment, *states, inputs.size());
        },
        {.first = progress.next()});
    progress.save_end();
    context.log.progress("by_block", left, left);
  }

 private:
  void run_block(PipelineContext& context, const Segment& segment,
                 std::span<const ModelInput> inputs, StateStore& states) const {
    Log quiet(Verbosity::kQuiet);  // what each step says of each block would be too much
    PipelineContext block{context.model,
                          context.points,
                          context.calibration,
                          quiet,
                          execute_segment(segment, inputs, states),
                          context.rewrites,
                          context.model.sites_of(segment)};
    block.seed = context.seed;
    for (const StepChoice& step : params_.steps) make_step(step)->run(block);
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
  std::vector<std::unique_ptr<Step>> steps_;
};

}  // namespace

void register_solver_by_block(Plugins& plugins) {
  add_plugin<ByBlock, Params>(
      plugins.solvers, "by_block",
      "Run steps on one block after another, each on what the quantized ones before it give.",
      "as in block-wise calibration of large models (GPTQ, BRECQ)");
}

}  // namespace quell
