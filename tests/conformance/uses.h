// What models are used for, and steps on them: what the laws of steps and of devices are checked
// on.
#pragma once

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <deque>
#include <map>
#include <optional>

#include "framework/solve/stored_quantizers.h"
#include "tasks/data/labelled_sequences.h"
#include "tests/conformance/laws.h"
#include "tests/support/engine.h"
#include "tests/support/temporary_folder.h"

namespace quell {

// What a model is used for.
struct Use {
  const char* name;
  const char* folder;
  const char* placement;  // null: every site
  std::vector<std::string> calibration;
  // Whether the task has examples with labels or answers to train on.
  bool has_training = true;
};

inline const std::vector<Use>& uses() {
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
inline const std::vector<Use>& uses_of_transforms() {
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

inline std::filesystem::path folder_of(const Use& use) { return test_data() / use.folder; }

inline std::vector<Batch> batches_of(const Use& use, const std::vector<std::string>& keys) {
  return read_batches(folder_of(use) / "inputs.safetensors", keys);
}

inline std::string quant(const Use& use, const char* observer = "prune_minmax",
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
inline at::Tensor outputs(const Use& use, QuantizedNetwork& network, bool weights,
                          bool activations) {
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
inline std::string stored_quantizers(const Use& use) {
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
using SolverEntry = SolverRegistry::Entry;

// A network that the step has something to do on.
template <class Entry>
std::string quant_for(const Entry& entry, const Use& use) {
  return entry.name() == "adaround" ? quant(use, "prune_minmax", "lsq_plus", "adaround")
                                    : quant(use);
}

inline void solve(const SolverEntry& entry, const Use& use, QuantizedNetwork& network) {
  network.calibrate(batches_of(use, use.calibration));  // what a solver may start from
  run_step(entry, params_for(entry, use), use, network);
}

}  // namespace quell
