// The laws of transforms and solvers, on everything in the registry.
#include <fmt/format.h>

#include "tests/conformance/laws.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"

namespace quell {
namespace {

std::filesystem::path folder() { return test_data() / "parity/outlier_suppression"; }

std::vector<Batch> calibration_batches() {
  return read_batches(folder() / "inputs.safetensors", {"b0.input_ids", "b1.input_ids"});
}

Batch unseen_batch() { return read_batches(folder() / "inputs.safetensors", {"b4.input_ids"})[0]; }

constexpr const char* kPlacement =
    "{include: placements/outlier_suppression.yaml,"
    " rules: [{sites: ['weight:*', 'activation:*'], bits: 8},"
    " {sites: 'activation:*', observer: prune_minmax, quantizer: lsq_plus}]}";

// A step works on a network with default parameters and two calibration batches, whose sequences
// are the training data, too.
template <class Entry, class Run>
void run_step(const Entry& entry, QuantizedNetwork& network, const Run& run) {
  const std::vector<Batch> batches = calibration_batches();
  Log log(Verbosity::kQuiet);
  PipelineContext context{network.model(), network.points(), batches, log};
  const std::unique_ptr<TrainingData> training = training_data(batches);
  context.training = training.get();
  run(*entry.create(entry.params().make().get()), context);
}

using TransformEntry = TransformRegistry::Entry;

void transform(const TransformEntry& entry, QuantizedNetwork& network) {
  run_step(entry, network, [](Transform& step, PipelineContext& context) { step.run(context); });
}

// 1e-3 of the largest logit: rewritten weights are rounded to float32, and published rewrites may
// change the epsilon of a norm from 1e-12 to 1e-5.
Violation float_outputs_stay(const TransformEntry& entry) {
  QuantizedNetwork network(folder(), kPlacement);
  const at::Tensor before = network.logits(unseen_batch(), false, false);
  transform(entry, network);
  const double moved = max_difference(network.logits(unseen_batch(), false, false), before);
  return moved <= 50 * float_tolerance(before) ? "" : fmt::format("logits moved by {}", moved);
}

Violation transforms_are_repeatable(const TransformEntry& entry) {
  QuantizedNetwork first(folder(), kPlacement), second(folder(), kPlacement);
  transform(entry, first);
  transform(entry, second);
  return equal_bits(first.logits(unseen_batch(), false, false),
                    second.logits(unseen_batch(), false, false))
             ? ""
             : "twice the same step gives different networks";
}

class TransformLaws : public testing::TestWithParam<std::string> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(TransformLaws);  // there may be none

TEST_P(TransformLaws, Hold) {
  expect_laws<TransformEntry>(
      all_plugins().transforms.get(GetParam()),
      {{"float_outputs_stay", float_outputs_stay}, {"repeatable", transforms_are_repeatable}});
}

INSTANTIATE_TEST_SUITE_P(Registry, TransformLaws,
                         testing::ValuesIn(all_plugins().transforms.names()),
                         [](const auto& test) { return test.param; });

using SolverEntry = SolverRegistry::Entry;

void solve(const SolverEntry& entry, QuantizedNetwork& network) {
  network.calibrate(calibration_batches());  // what a solver may start from
  run_step(entry, network, [](Solver& step, PipelineContext& context) { step.run(context); });
}

Violation gives_parameters_to_all_sites(const SolverEntry& entry) {
  QuantizedNetwork network(folder(), kPlacement);
  solve(entry, network);
  for (size_t id = 0; id < network.model().sites().size(); ++id) {
    const SitePoint* point = network.points().point(static_cast<SiteId>(id));
    if (point == nullptr) continue;
    const std::string key = network.model().sites()[id].key();
    if (!point->calibrated) return key + " has no parameters";
  }
  return "";
}

Violation float_network_stays(const SolverEntry& entry) {
  QuantizedNetwork network(folder(), kPlacement);
  const at::Tensor before = network.logits(unseen_batch(), false, false);
  solve(entry, network);
  return equal_bits(network.logits(unseen_batch(), false, false), before)
             ? ""
             : "the float network changed";
}

Violation solvers_are_repeatable(const SolverEntry& entry) {
  QuantizedNetwork first(folder(), kPlacement), second(folder(), kPlacement);
  solve(entry, first);
  solve(entry, second);
  return equal_bits(first.logits(unseen_batch(), true, true),
                    second.logits(unseen_batch(), true, true))
             ? ""
             : "twice the same step gives different networks";
}

class SolverLaws : public testing::TestWithParam<std::string> {};

TEST_P(SolverLaws, Hold) {
  expect_laws<SolverEntry>(all_plugins().solvers.get(GetParam()),
                           {{"gives_parameters_to_all_sites", gives_parameters_to_all_sites},
                            {"float_network_stays", float_network_stays},
                            {"repeatable", solvers_are_repeatable}});
}

INSTANTIATE_TEST_SUITE_P(Registry, SolverLaws, testing::ValuesIn(all_plugins().solvers.names()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace quell
