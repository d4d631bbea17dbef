#include "framework/import/qualcomm.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <optional>

#include "framework/base/error.h"
#include "framework/config/scalar.h"
#include "framework/import/qualcomm_command.h"
#include "framework/import/qualcomm_rules.h"
#include "framework/import/qualcomm_steps.h"

namespace quell {
namespace {

namespace fs = std::filesystem;
using Kind = published::NodeSetting::Kind;
using published::QualcommCommand;

// The code looks at so many batches for permutations.
constexpr int64_t kPermutationBatches = 10;

class Converter {
 public:
  Converter(const ImportOptions& options, const QualcommCommand& command, ImportNotes& notes)
      : options_(options), command_(command), notes_(notes) {}

  std::string yaml();

 private:
  bool is_bert() const { return model_type_ == "bert"; }
  int64_t estimation_batch_size() const {
    return command_.estimation_batch_size.value_or(command_.batch_size);
  }
  bool pads() const { return command_.pad_estimation.value_or(command_.pad); }
  // Scores are limited to [0, 5], as in that code's quantized BERT.
  bool clamps() const { return command_.quantizes && command_.task == "stsb" && is_bert(); }

  std::string name() const;
  std::string model_path();
  void find_model_type(const fs::path& folder);
  std::string data_path();
  std::string calibration();
  std::string pipeline();
  void note_differences();
  void note_rounding();
  void note(ImportNote::Kind kind, std::string text) { notes_.push_back({kind, std::move(text)}); }
  void differs(std::string text) { note(ImportNote::Kind::kDifference, std::move(text)); }

  // Features are permuted, in that code too.
  bool permutes() const { return !rules_.permuted.empty(); }

  const ImportOptions& options_;
  const QualcommCommand& command_;
  ImportNotes& notes_;
  std::string model_type_;
  published::QualcommRules rules_;
};

std::string Converter::name() const {
  std::string name = command_.task;
  if (!command_.quantizes) return name + (command_.trains ? "-float-trained" : "-float");
  name += command_.quantize_weights ? fmt::format("-w{}", command_.weight_bits) : "-w32";
  name += command_.quantize_activations ? fmt::format("a{}", command_.activation_bits) : "a32";
  std::string method =
      command_.quantize_activations ? command_.activation_method : command_.weight_method;
  std::replace(method.begin(), method.end(), '_', '-');
  for (char& c : method) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  name += "-" + method;
  if (command_.per_embedding) name += "-per-embedding";
  if (command_.groups) name += fmt::format("-groups{}", *command_.groups);
  if (!command_.nodes.empty()) name += "-nodes";
  if (command_.rounding) name += "-adaround";
  if (command_.trains) name += "-qat";
  return name;
}

void Converter::find_model_type(const fs::path& folder) {
  model_type_ = published_model_type(folder, command_.model_name);
  if (model_type_ == "mobilebert") {
    throw ConfigError(
        "--model-name: commands for MobileBERT are not imported: it has nodes of its own; write "
        "the "
        "experiment by hand, from experiments/qualcomm/base.yaml");
  }
  const auto& known = options_.model_types;
  if (std::find(known.begin(), known.end(), model_type_) != known.end()) return;
  note(ImportNote::Kind::kToSet,
       fmt::format("model: the published code quantizes BERT and RoBERTa, found {}; the experiment "
                   "may name sites that the model does not have",
                   model_type_));
}

std::string Converter::model_path() {
  fs::path folder = options_.model;
  if (folder.empty() && command_.trains && fs::is_directory(command_.model_path)) {
    folder = fs::absolute(command_.model_path).lexically_normal();
  } else if (folder.empty() && !command_.model_path.empty()) {
    // Checkpoints of that code: PATH/TASK/.../out.
    std::vector<fs::path> found;
    const fs::path task = fs::path(command_.model_path) / command_.task;
    if (fs::is_directory(task)) {
      for (const auto& entry : fs::recursive_directory_iterator(task)) {
        if (entry.is_directory() && entry.path().filename() == "out") found.push_back(entry.path());
      }
    }
    if (found.size() == 1) folder = fs::absolute(found[0]).lexically_normal();
  }
  find_model_type(folder);
  if (!folder.empty()) return folder.string();
  note(ImportNote::Kind::kToSet,
       "model.path: a folder with a model of the task; say `--model FOLDER`, or `quell run ... "
       "--set model.path=FOLDER`");
  return "MODEL";
}

std::string Converter::data_path() {
  if (!options_.data.empty()) return options_.data;
  note(ImportNote::Kind::kToSet,
       fmt::format("task.path: the folder with the files of {}; say `--data FOLDER`, or `quell run "
                   "... --set task.path=FOLDER`",
                   command_.task));
  return "DATA";
}

std::string Converter::calibration() {
  const int64_t size = estimation_batch_size();
  const int64_t batches = command_.estimation_batches + (permutes() ? kPermutationBatches : 0);
  const int64_t rounding = command_.rounding ? command_.rounding->samples : 0;
  std::string text = fmt::format("calibration: {{samples: {}, batch_size: {}",
                                 std::max(rounding, size * batches), size);
  if (pads()) {
    text += fmt::format(", padding: keep, pad_to: {}", command_.max_length);
  } else if (size > 1) {
    differs(
        fmt::format("--est-ranges-no-pad: there a batch of {} is padded to its longest sequence, "
                    "and padding is observed; here nothing is padded",
                    size));
  }
  if (permutes() && command_.pad != pads()) {
    differs(
        "--pad-to-max-length: there the pass for permutations pads as it says, whatever "
        "--est-ranges-pad; here both passes do the same");
  }
  return text + "}\n";
}

std::string Converter::pipeline() {
  std::vector<std::string> steps;
  if (permutes()) {
    std::string step =
        fmt::format("permute_groups: {{network: published, batches: {}{}", kPermutationBatches,
                    command_.permute_shared ? ", shared: layer" : "");
    if (!rules_.all_permuted)
      step += fmt::format(", sites: [{}]", fmt::join(rules_.permuted, ", "));
    steps.push_back(step + "}");
  }
  const std::string first = permutes() ? fmt::format("first_batch: {}", kPermutationBatches) : "";
  if (command_.rounding) {
    steps.emplace_back("calibrate: {sites: \"weight:*\"}");
    steps.push_back(published::rounding_step(command_));
    if (command_.quantize_activations) {
      steps.push_back(fmt::format("calibrate: {{sites: \"activation:*\", {}{}batches: {}}}", first,
                                  first.empty() ? "" : ", ", command_.estimation_batches));
    }
  } else {
    steps.push_back(first.empty() ? "calibrate" : fmt::format("calibrate: {{{}}}", first));
  }
  if (command_.trains) steps.push_back(published::training_step(command_, clamps(), notes_));
  if (steps.size() == 1) return fmt::format("pipeline: [{}]\n", steps[0]);
  return fmt::format("pipeline:\n  - {}\n", fmt::join(steps, "\n  - "));
}

void Converter::note_rounding() {
  if (!command_.rounding) return;
  if (!pads()) {
    differs(fmt::format(
        "--adaround: there rounding is learned on sequences that are padded to {}, whatever "
        "--est-ranges-pad; here it sees what calibration does",
        command_.max_length));
  }
  if (command_.quantize_activations) {
    differs(
        "--adaround: there ranges of activations are estimated on batches of 1, 4 and 16 in turn, "
        "and the best score counts; here on batches of --est-ranges-batch-size");
  }
}

void Converter::note_differences() {
  differs(
      "calibration: other examples are drawn from the training set, since the random generators "
      "differ; `calibration: {file: FILE}` takes given ones");
  note_rounding();
  if (command_.model_name == "bert_large_uncased" &&
      (!command_.nodes.empty() || command_.groups || command_.per_embedding)) {
    differs(
        "bert_large_uncased: the published code leaves layers 12 to 23 out of --quant-dict, "
        "--per-groups and --per-embd; here they are like the others");
  }
  const bool groups =
      is_bert() && (command_.groups || command_.per_embedding ||
                    std::any_of(command_.nodes.begin(), command_.nodes.end(), [](const auto& node) {
                      return node.second.kind != Kind::kBits && node.second.kind != Kind::kFloat;
                    }));
  if (groups && command_.trains && command_.training.learns_ranges) {
    differs(
        "--learn-ranges: an error there, where features have scales of their own; here it works");
  }
  if (groups && command_.symmetric_activations) {
    differs(
        "--qmethod-act symmetric_uniform: an error there, where features have scales of their "
        "own; here it works");
  }
  if (groups && command_.activation_method != "current_minmax" &&
      command_.activation_method != "running_minmax") {
    differs(
        fmt::format("--act-quant-method {}: there it knows one range per tensor, whatever the "
                    "features; here each group has its own",
                    command_.activation_method));
  }
  if (permutes() && command_.activation_method == "running_minmax") {
    differs(
        "--act-quant-method running_minmax: there it ignores permutations, and starts from what it "
        "saw while they were looked for; here groups are permuted, and it starts anew");
  }
  if (rules_.never_quantized) {
    differs(
        "--quant-dict: without --per-groups-permute the published code never quantizes a node with "
        "'ngpK', and so it is here; give that option to get permuted groups");
  }
  if (command_.training_samples && !command_.trains) {
    differs("--num-train-samples: here calibration draws from all training examples");
  }
  if (command_.validation_samples) {
    differs("--num-val-samples: here the whole dev set is evaluated");
  }
}

std::string Converter::yaml() {
  const std::string model = model_path();
  const std::string data = data_path();
  std::string text =
      "# Made by `quell import` from a command of the published code of \"Understanding and\n"
      "# Overcoming the Challenges of Efficient Transformer Quantization\" (Bondarenko et al., "
      "EMNLP "
      "2021).\n";
  if (model == "MODEL" || data == "DATA") {
    text += "# Say where model and data are: --set model.path=FOLDER --set task.path=FOLDER\n";
  }
  text += fmt::format("name: {}\nseed: {}\nmodel: {{path: {}}}\n", name(), command_.seed,
                      yaml_text(model));
  text +=
      fmt::format("task: {{type: glue, name: {}, path: {}, max_length: {}, batch_size: {}{}}}\n",
                  command_.task, yaml_text(data), command_.max_length,
                  command_.evaluation_batch_size.value_or(command_.batch_size),
                  clamps() ? ", clamp_scores: true" : "");
  if (command_.trains && command_.training.saves_model) text += "record: {model: true}\n";
  if (!command_.quantizes) {
    if (!command_.trains) return text + "pipeline: []\n";
    const std::string step = published::training_step(command_, /*clamps=*/false, notes_);
    return text + fmt::format("pipeline:\n  - {}\nstages: [float, transformed]\n", step);
  }
  rules_ = published::quant_rules(command_, is_bert(), notes_);
  text += calibration() + rules_.yaml + pipeline();
  note_differences();
  return text;
}

}  // namespace

ImportedExperiment import_qualcomm(const std::vector<std::string>& words,
                                   const ImportOptions& options) {
  ImportedExperiment imported;
  const QualcommCommand command = published::read_qualcomm_command(words, imported.notes);
  imported.yaml = Converter(options, command, imported.notes).yaml();
  return imported;
}

}  // namespace quell
