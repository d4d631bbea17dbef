#include "framework/import/qualcomm_steps.h"

#include <fmt/format.h>

#include "framework/base/error.h"
#include "framework/config/scalar.h"

namespace quell::published {
namespace {

struct TaskSize {
  std::string_view name;
  int64_t examples;  // of the training set
};

constexpr TaskSize kTaskSizes[] = {{"cola", 8551},   {"sst2", 67349}, {"mrpc", 3668},
                                   {"stsb", 5749},   {"qqp", 363846}, {"mnli", 392702},
                                   {"qnli", 104743}, {"rte", 2490},   {"wnli", 635}};

int64_t training_examples(const QualcommCommand& command) {
  if (command.training_samples) return *command.training_samples;
  for (const TaskSize& task : kTaskSizes) {
    if (task.name == command.task) return task.examples;
  }
  QUELL_ASSERT(false, "every task that is read has a size");
}

// Steps of warming up as a share of all of them.
std::string warmup(const QualcommCommand& command, ImportNotes& notes) {
  const TrainingCommand& training = command.training;
  if (training.warmup_steps == 0) return "0";
  const int64_t examples = training_examples(command);
  const int64_t each = (examples + command.batch_size - 1) / command.batch_size;
  const int64_t steps = training.epochs * each;
  notes.push_back({ImportNote::Kind::kDifference,
                   fmt::format("--warmup-steps {}: `warmup` is a share of all steps, which are {} "
                               "with the {} training examples of {}",
                               training.warmup_steps, steps, examples, command.task)});
  const double share = static_cast<double>(training.warmup_steps) / static_cast<double>(steps);
  return format_double(std::min(1.0, share));
}

std::string followed(const TrainingCommand& training) {
  if (training.learns_ranges || (training.fixes_weights && training.fixes_activations)) {
    return "none";
  }
  if (training.fixes_weights) return "activations";
  return training.fixes_activations ? "weights" : "all";
}

// Both kinds of dropout have the rate of the attention's there.
std::string dropout(const TrainingCommand& training, ImportNotes& notes) {
  if (!training.attention_dropout) return "";
  if (training.hidden_dropout) {
    if (*training.hidden_dropout != *training.attention_dropout) {
      notes.push_back({ImportNote::Kind::kDifference,
                       "--hidden-dropout: the published code takes the value of --attn-dropout for "
                       "it, and so does this experiment"});
    }
    return fmt::format(", dropout: {}", format_double(*training.attention_dropout));
  }
  notes.push_back({ImportNote::Kind::kDifference,
                   "--attn-dropout: dropout of attention has no rate of its own here; all of them "
                   "are those of config.json, unless you add `dropout` to `qat`"});
  return "";
}

}  // namespace

std::string rounding_step(const QualcommCommand& command) {
  const RoundingCommand& rounding = *command.rounding;
  const std::string grid = rounding.grid == "range_estimator" ? "calibrated" : rounding.grid;
  const std::string relaxation = rounding.mode == "learned_sigmoid"        ? "sigmoid"
                                 : rounding.mode == "learned_hard_sigmoid" ? "hard_sigmoid"
                                                                           : "temperature_sigmoid";
  return fmt::format(
      "adaround: {{loss: batches, grid: {}, asymmetric: {}, include_nonlinearity: {}, batch_size: "
      "{}, iterations: {},\n      learning_rate: {}, regularizer: {}, warmup: {}, beta_start: {}, "
      "beta_end: {}, decay: {}, relaxation: {}}}",
      grid, rounding.asymmetric, rounding.with_activation_function, command.batch_size,
      rounding.iterations, format_double(rounding.learning_rate),
      format_double(rounding.regularizer), format_double(rounding.warmup),
      format_double(rounding.beta_start), format_double(rounding.beta_end), rounding.decay,
      relaxation);
}

std::string training_step(const QualcommCommand& command, bool clamps, ImportNotes& notes) {
  const TrainingCommand& training = command.training;
  std::string text = fmt::format(
      "qat: {{{}epochs: {}, batch_size: {}, learning_rate: {}, schedule: linear, warmup: {},\n"
      "      optimizer: transformers, weight_decay: {}, {}max_gradient_norm: {}, follow: {}",
      command.quantizes ? "" : "quantize: false, ", training.epochs, command.batch_size,
      format_double(training.learning_rate), warmup(command, notes),
      format_double(training.weight_decay), training.weight_decay > 0 ? "decayed: published, " : "",
      format_double(training.largest_gradient), followed(training));
  text += dropout(training, notes);
  if (clamps) text += ", clamp_scores: true";
  if (command.training_samples) text += fmt::format(", samples: {}", *command.training_samples);
  if (command.pad && command.quantizes && !training.learns_ranges) {
    notes.push_back({ImportNote::Kind::kDifference,
                     "--pad-to-max-length: there ranges that follow see padding in training; here "
                     "training examples are not padded"});
  }
  return text + "}";
}

}  // namespace quell::published
