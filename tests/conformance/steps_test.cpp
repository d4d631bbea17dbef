// The laws of transforms and solvers, on everything in the registry and on every kind of output: a
// class, the span of an answer, text.
#include <gmock/gmock.h>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <deque>
#include <map>
#include <optional>

#include "framework/solve/stored_quantizers.h"
#include "tasks/data/labelled_sequences.h"
#include "tests/conformance/laws.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using testing::HasSubstr;

// What a model is used for.
struct Use {
  const char* name;
  const char* folder;
  const char* placement;  // null: every site
  std::vector<std::string> calibration;
  // Whether the task has examples with labels or answers to train on.
  bool has_training = true;
};

const std::vector<Use>& uses() {
  static const std::vector<std::string> first = {"b0.input_ids", "b1.input_ids"};
  static const std::vector<Use> all = {
      {"bert classifies", "parity/outlier_suppression", "outlier_suppression", first},
      {"bert answers", "parity/outlier_suppression_qa", "outlier_suppression_qa", first},
      {"bart classifies", "parity/outlier_suppression_bart_cls",
       "outlier_suppression_bart_classification", first},
      {"bart answers", "parity/outlier_suppression_bart_qa", "outlier_suppression_bart", first},
      {"bart writes", "parity/outlier_suppression_bart_gen", "outlier_suppression_bart", first,
       false},
      {"llama writes", "models/llama", nullptr, {"b4.input_ids"}, false}};
  return all;
}

// What transforms have to leave as it is: the same, and every other family of models.
const std::vector<Use>& uses_of_transforms() {
  static const std::vector<Use> all = [] {
    std::vector<Use> list = uses();
    const std::vector<std::string> first = {"b0.input_ids", "b1.input_ids"},
                                   only = {"b4.input_ids"};
    list.push_back(
        {"roberta classifies", "parity/outlier_suppression_roberta", "outlier_suppression", first});
    for (const char* folder :
         {"distilbert", "electra", "opt", "opt_post_norm", "opt_no_biases", "llama_biases", "gpt2",
          "bloom", "gpt_neox", "gpt_neox_sequential"}) {
      static std::deque<std::string> folders;
      folders.push_back(std::string("models/") + folder);
      list.push_back({folder, folders.back().c_str(), nullptr, only, false});
    }
    return list;
  }();
  return all;
}

std::filesystem::path folder_of(const Use& use) { return test_data() / use.folder; }

std::vector<Batch> batches_of(const Use& use, const std::vector<std::string>& keys) {
  return read_batches(folder_of(use) / "inputs.safetensors", keys);
}

std::string quant(const Use& use, const char* observer = "prune_minmax",
                  const char* quantizer = "lsq_plus", const char* weights = "fixed") {
  // Some groups of features, for what works on them.
  const std::string rules = fmt::format(
      "{{sites: ['weight:*', 'activation:*'], bits: 8}},"
      " {{sites: 'activation:*', observer: {}, quantizer: {}}},"
      " {{sites: 'weight:*', quantizer: {}}},"
      " {{sites: 'activation:*.ffn.norm', granularity: feature_groups, groups: 4}}",
      observer, quantizer, weights);
  if (use.placement == nullptr) {
    return fmt::format("{{rules: [{{sites: ['weight:*', 'activation:*'], quantize: true}}, {}]}}",
                       rules);
  }
  return fmt::format("{{include: placements/{}.yaml, rules: [{}]}}", use.placement, rules);
}

// All outputs of a batch that no step has seen (LLaMA has one batch alone), one after another.
at::Tensor outputs(const Use& use, QuantizedNetwork& network, bool weights, bool activations) {
  const at::NoGradGuard no_gradients;
  const Batch batch = batches_of(use, {"b4.input_ids"})[0];
  std::vector<at::Tensor> values;
  for (const auto& [name, output] :
       network.model().forward(batch, network.pass(weights, activations))) {
    values.push_back(output.reshape({-1}));
  }
  return at::cat(values);
}

// Sequences whose answers are their second and third token.
class Questions final : public TrainingData {
 public:
  explicit Questions(TrainingData& sequences) : sequences_(sequences) {}
  int64_t examples() override { return sequences_.examples(); }
  int64_t batch_size() const override { return sequences_.batch_size(); }
  Batch batch(std::span<const int64_t> positions) override {
    Batch batch = sequences_.batch(positions);
    batch.start_positions = at::ones_like(batch.labels);
    batch.end_positions = batch.start_positions.add(1);
    return batch;
  }

 private:
  TrainingData& sequences_;
};

// A step works on a network with two calibration batches, whose sequences are the training data,
// too.
template <class Entry>
void run_step(const Entry& entry, const std::string& params, const Use& use,
              QuantizedNetwork& network) {
  std::vector<Batch> batches = batches_of(use, use.calibration);
  Log log(Verbosity::kQuiet);
  PipelineContext context{network.model(), network.points(), batches, log};
  std::unique_ptr<TrainingData> labelled;
  std::optional<Questions> questions;
  if (use.has_training) {
    std::vector<Batch> examples = batches;
    for (Batch& batch : examples) {
      if (!batch.labels.defined()) batch.labels = at::zeros({batch.sequences()}, at::kLong);
    }
    labelled = training_data(examples);
    context.training = batches[0].labels.defined() ? labelled.get() : &questions.emplace(*labelled);
  }
  entry.create(read_params(entry, params).get())->run(context);
}

// The quantizers of a calibrated network, as an export has them.
std::string stored_quantizers(const Use& use) {
  static std::map<std::string, TemporaryFolder> folders;
  const TemporaryFolder& folder = folders[use.name];
  QuantizedNetwork network(folder_of(use), quant(use));
  network.calibrate(batches_of(use, use.calibration));
  write_quantizers(folder / kQuantizersFile, network.points(), {});
  return fmt::format("{{from: {}}}", folder.path().string());
}

// What a step needs beside its defaults to work for a use.
template <class Entry>
std::string params_for(const Entry& entry, const Use& use) {
  if (entry.name() == "by_block") return "{steps: [calibrate]}";
  if (entry.name() == "adaround") return "{iterations: 3}";
  if (entry.name() == "restore") return stored_quantizers(use);
  const bool unlabelled = entry.name() == "qat" && !use.has_training;
  return unlabelled ? "{data: calibration, distillation: {weight: 1}}" : "";
}

template <class Check>
Violation for_each_use(const std::vector<Use>& all, const Check& check) {
  return first_violation(all, [&](const Use& use) -> Violation {
    const Violation violation = check(use);
    return violation.empty() ? "" : fmt::format("{}: {}", use.name, violation);
  });
}
template <class Check>
Violation for_each_use(const Check& check) {
  return for_each_use(uses(), check);
}

using TransformEntry = TransformRegistry::Entry;

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

using SolverEntry = SolverRegistry::Entry;

// A network that the solver has something to do on.
std::string quant_for(const SolverEntry& entry, const Use& use) {
  return entry.name() == "adaround" ? quant(use, "prune_minmax", "lsq_plus", "adaround")
                                    : quant(use);
}

void solve(const SolverEntry& entry, const Use& use, QuantizedNetwork& network) {
  network.calibrate(batches_of(use, use.calibration));  // what a solver may start from
  run_step(entry, params_for(entry, use), use, network);
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
