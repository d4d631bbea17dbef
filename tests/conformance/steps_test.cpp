// The laws of transforms and solvers, on everything in the registry and on every kind of output: a
// class, the span of an answer, text.
#include <gmock/gmock.h>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "tests/conformance/uses.h"
#include "tests/support/compare.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using testing::HasSubstr;

// How far a chain of steps moves float outputs.
double moved_by(const std::vector<std::pair<std::string, std::string>>& transforms, const Use& use,
                QuantizedNetwork& network) {
  const at::Tensor before = outputs(use, network, false, false);
  for (const auto& [name, params] : transforms) {
    run_step(all_plugins().transforms.get(name), params, use, network);
  }
  const double moved = max_difference(outputs(use, network, false, false), before);
  return moved / float_tolerance(before);
}

// Rewritten weights are rounded to float32.
Violation float_outputs_stay(const TransformEntry& entry) {
  return for_each_use(uses_of_transforms(), [&](const Use& use) -> Violation {
    QuantizedNetwork network(folder_of(use), quant(use));
    const double moved = moved_by({{entry.name(), ""}}, use, network);
    return moved <= 1 ? "" : fmt::format("outputs moved by {} times the tolerance", moved);
  });
}

Violation transforms_are_repeatable(const TransformEntry& entry) {
  return for_each_use(uses_of_transforms(), [&](const Use& use) -> Violation {
    QuantizedNetwork first(folder_of(use), quant(use)), second(folder_of(use), quant(use));
    run_step(entry, params_for(entry, use), use, first);
    run_step(entry, params_for(entry, use), use, second);
    return equal_bits(outputs(use, first, false, false), outputs(use, second, false, false))
               ? ""
               : "twice the same step gives different networks";
  });
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

// Transforms one after another, and in their other forms.
TEST(TransformChains, LeaveFloatOutputs) {
  const std::vector<std::vector<std::pair<std::string, std::string>>> chains = {
      {{"shift_scale", "{shift: always, network: float, batches: 2}"}},
      {{"shift_scale", "{scale: false, losses: published}"}},
      {{"shift_scale", "{shift: never, smallest_threshold: 0.05, candidates: 10}"}},
      {{"gamma_migration", ""}, {"shift_scale", "{candidates: 10}"}},
      {{"shift_scale", "{candidates: 10, shift: always}"}, {"gamma_migration", ""}},
      {{"smooth_quant", ""}, {"shift_scale", "{candidates: 10}"}},
      {{"smooth_quant", "{alpha: 0.8}"}, {"gamma_migration", ""}}};
  for (const auto& chain : chains) {
    for (const Use& use : uses_of_transforms()) {
      QuantizedNetwork network(folder_of(use), quant(use));
      EXPECT_LE(moved_by(chain, use, network), 1)
          << use.name << ": " << chain.front().first << " " << chain.front().second;
    }
  }
}

// Every transform leaves a network that solvers find parameters for, and that quantizes as well as
// before at 8 bits, whatever it does at fewer.
TEST(TransformChains, GoWithTokenWiseClipping) {
  const auto noise = [](const Use& use, const std::vector<std::string>& transforms) {
    QuantizedNetwork network(folder_of(use), quant(use));
    const at::Tensor plain = outputs(use, network, false, false);
    for (const std::string& name : transforms) {
      run_step(all_plugins().transforms.get(name), "", use, network);
    }
    run_step(all_plugins().solvers.get("token_wise_clipping"), "", use, network);
    return at::sub(outputs(use, network, true, true), plain).square().mean().item<double>();
  };
  for (const Use& use : uses()) {
    const double alone = noise(use, {});
    for (const std::vector<std::string>& transforms :
         {std::vector<std::string>{"shift_scale"}, {"gamma_migration", "shift_scale"}}) {
      EXPECT_LE(noise(use, transforms), 4 * alone) << use.name << " " << transforms.size();
    }
  }
}

Violation gives_parameters_to_all_sites(const SolverEntry& entry) {
  return for_each_use([&](const Use& use) -> Violation {
    QuantizedNetwork network(folder_of(use), quant_for(entry, use));
    solve(entry, use, network);
    int64_t sites = 0;
    for (size_t id = 0; id < network.model().sites().size(); ++id) {
      const SitePoint* point = network.points().point(static_cast<SiteId>(id));
      if (point == nullptr) continue;
      ++sites;
      const std::string key = network.model().sites()[id].key();
      if (!point->calibrated) return key + " has no parameters";
    }
    return sites > 0 ? "" : "no site is quantized";
  });
}

Violation float_network_stays(const SolverEntry& entry) {
  return for_each_use([&](const Use& use) -> Violation {
    QuantizedNetwork network(folder_of(use), quant_for(entry, use));
    const at::Tensor before = outputs(use, network, false, false);
    solve(entry, use, network);
    return equal_bits(outputs(use, network, false, false), before) ? ""
                                                                   : "the float network changed";
  });
}

Violation solvers_are_repeatable(const SolverEntry& entry) {
  return for_each_use([&](const Use& use) -> Violation {
    QuantizedNetwork first(folder_of(use), quant_for(entry, use)),
        second(folder_of(use), quant_for(entry, use));
    for (QuantizedNetwork* network : {&first, &second}) {
      solve(entry, use, *network);
      if (entry.obeys("gives_parameters_to_all_sites")) continue;
      network->calibrate(batches_of(use, use.calibration));
    }
    return equal_bits(outputs(use, first, true, true), outputs(use, second, true, true))
               ? ""
               : "twice the same step gives different networks";
  });
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

// Where a step does not apply it says what to do instead.
TEST(StepRefusals, QatWithoutLabelsOrClasses) {
  const SolverEntry& qat = all_plugins().solvers.get("qat");
  for (const Use& use : uses()) {
    SCOPED_TRACE(use.name);
    QuantizedNetwork network(folder_of(use), quant(use));
    network.calibrate(batches_of(use, use.calibration));
    const auto run = [&](const char* params) { run_step(qat, params, use, network); };
    if (!use.has_training) {
      EXPECT_THAT(message_of<ConfigError>([&] { run(""); }), HasSubstr("use `data: calibration`"));
      EXPECT_THAT(message_of<ConfigError>([&] { run("{data: calibration}"); }),
                  HasSubstr("with `distillation: {weight: 1}`"));
    } else if (std::string(use.name).ends_with("answers")) {
      EXPECT_THAT(message_of<ConfigError>([&] { run("{distillation: {weight: 1}}"); }),
                  HasSubstr("leave `distillation` out"));
      EXPECT_THAT(message_of<DataError>([&] { run("{data: calibration}"); }),
                  HasSubstr("give the data positions"));
    }
  }
}

TEST(StepRefusals, NothingToLearnOrToClip) {
  for (const Use& use : uses()) {
    SCOPED_TRACE(use.name);
    QuantizedNetwork network(folder_of(use), quant(use, "minmax", "fixed"));
    network.calibrate(batches_of(use, use.calibration));
    const auto run = [&](const char* solver) {
      run_step(all_plugins().solvers.get(solver), "", use, network);
    };
    EXPECT_THAT(message_of<ConfigError>([&] { run("learn_scales"); }),
                HasSubstr("give some of them `quantizer: lsq`"));
    EXPECT_THAT(message_of<ConfigError>([&] { run("adaround"); }),
                HasSubstr("give some of them `quantizer: adaround`"));
    EXPECT_THAT(message_of<ConfigError>([&] { run("token_wise_clipping"); }),
                HasSubstr("give some of them `observer: prune_minmax`"));
  }
}

}  // namespace
}  // namespace quell
