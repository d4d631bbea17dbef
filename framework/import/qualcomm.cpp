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
#include "framework/import/qualcomm_nodes.h"
#include "framework/import/qualcomm_steps.h"

namespace quell {
namespace {

namespace fs = std::filesystem;
using published::NodeSetting;
using published::QualcommCommand;
using Kind = NodeSetting::Kind;

// What --per-embd and --per-groups are about.
constexpr const char* kFeatureSites =
    "\"activation:embeddings.{sum_*,norm}\", "
    "\"activation:encoder.*.attention.{query,key,value,context,output,residual,norm}\", "
    "\"activation:encoder.*.ffn.{output,residual,norm}\"";
// The code looks at so many batches for permutations.
constexpr int64_t kPermutationBatches = 10;
// Shifts of the estimators that search: a quarter of the codes.
int64_t shifts_of(int64_t bits) { return (int64_t{1} << bits) / 4; }

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
  std::string observer(const std::string& method, const std::string& search,
                       std::optional<int64_t> candidates, std::optional<int64_t> shifts = {}) const;
  std::string activation_observer() const;
  std::string rules();
  void setup_rules(std::string& text);
  void group_rules(std::string& text);
  void node_rules(std::string& text);
  std::string kept_shifts(const published::NodeKey& key, int64_t bits) const;
  std::string node_rule(const published::NodeKey& key, const NodeSetting& setting);
  void cross_entropy_rule(std::string& text);
  std::string pipeline();
  void rounding_rules(std::string& text);
  void note_differences();
  void note_rounding();
  void note(ImportNote::Kind kind, std::string text) { notes_.push_back({kind, std::move(text)}); }
  void differs(std::string text) { note(ImportNote::Kind::kDifference, std::move(text)); }
  void unused(std::string text) { note(ImportNote::Kind::kNoEffect, std::move(text)); }

  // Features are permuted, in that code too.
  bool permutes() const { return !permuted_.empty(); }

  const ImportOptions& options_;
  const QualcommCommand& command_;
  ImportNotes& notes_;
  std::string model_type_;
  std::vector<std::string> permuted_;  // patterns of sites
  bool all_permuted_ = true;           // every site with groups is
  bool never_quantized_ = false;       // a node with 'ngpK' without an option that permutes
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

std::string Converter::observer(const std::string& method, const std::string& search,
                                std::optional<int64_t> candidates,
                                std::optional<int64_t> shifts) const {
  if (method == "current_minmax" || method == "allminmax") {
    return method == "allminmax" ? "minmax" : method;
  }
  if (method == "running_minmax") {
    if (!command_.momentum) return "ema_minmax";
    return fmt::format("{{type: ema_minmax, momentum: {}}}", format_double(*command_.momentum));
  }
  std::string text = method == "MSE" ? "{type: summed_mse" : "{type: cross_entropy";
  if (search == "golden_section") text += ", search: brent";
  if (candidates) text += fmt::format(", candidates: {}", *candidates);
  if (shifts) text += fmt::format(", shifts: {}", *shifts);
  return text + "}";
}

std::string Converter::activation_observer() const {
  if (command_.percentile && *command_.percentile > 0) {
    return fmt::format("{{type: current_minmax, percentile: {}, sides: low}}",
                       format_double(*command_.percentile));
  }
  return observer(command_.activation_method, command_.activation_search,
                  command_.activation_candidates);
}

// The last layer has estimators of its own by --quant-setup, in BERT.
void Converter::setup_rules(std::string& text) {
  if (command_.setup == "all") return;
  if (!is_bert()) {
    return unused(
        fmt::format("--quant-setup {}: of BERT alone, in the published code, too", command_.setup));
  }
  text += command_.setup == "FP_logits"
              ? "    - {sites: \"group:C\", quantize: false}\n"
              : "    - {sites: \"group:C\", observer: {type: summed_mse, search: brent}}\n";
}

void Converter::group_rules(std::string& text) {
  if (!command_.per_embedding && !command_.groups) return;
  if (!is_bert())
    return unused("--per-embd, --per-groups: of BERT alone, in the published code, too");
  std::string sites = kFeatureSites;
  if (command_.per_embedding) sites += ", \"group:P\"";
  text += fmt::format("    - {{sites: [{}],\n       granularity: {}", sites,
                      command_.groups ? fmt::format("feature_groups, groups: {}", *command_.groups)
                                      : "channel, axis: 1");
  text += command_.percentile ? ", observer: current_minmax}\n" : "}\n";
  if (command_.permute) {
    permuted_.emplace_back(kFeatureSites);
  } else {
    all_permuted_ = false;
  }
}

// Where --quant-dict changes the bits of what a search has a range for, its estimator, made before,
// keeps the shifts of the old bits.
std::string Converter::kept_shifts(const published::NodeKey& key, int64_t bits) const {
  const std::string_view letter = key.node->letter;
  const bool weight = key.node->pattern.starts_with("weight:");
  const int64_t before = weight ? command_.weight_bits : command_.activation_bits;
  const bool symmetric = weight ? command_.symmetric_weights : command_.symmetric_activations;
  if (symmetric || bits == before) return "";
  const std::string& method = weight ? command_.weight_method : command_.activation_method;
  const std::string& search = weight ? command_.weight_search : command_.activation_search;
  const auto candidates = weight ? command_.weight_candidates : command_.activation_candidates;
  const bool brent = letter == "Et" || (letter == "C" && command_.setup == "MSE_logits");
  if (brent) return ", observer: " + observer("MSE", "golden_section", {}, shifts_of(before));
  if (method != "MSE" && method != "cross_entropy") return "";
  return ", observer: " + observer(method, search, candidates, shifts_of(before));
}

// The bits or groups of a node, and what else follows from that.
std::string Converter::node_rule(const published::NodeKey& key, const NodeSetting& setting) {
  const std::string observed = command_.percentile ? ", observer: current_minmax" : "";
  switch (setting.kind) {
    case Kind::kBits:
      return fmt::format("bits: {}{}", setting.number, kept_shifts(key, setting.number));
    case Kind::kFloat:
      return "quantize: false";
    case Kind::kPerEmbedding:
      return "granularity: channel, axis: 1" + observed;
    case Kind::kGroups:
      all_permuted_ = false;
      break;
    case Kind::kPermutedGroups:
      if (!command_.permute && !command_.permute_shared) {
        never_quantized_ = true;
        return "quantize: false";
      }
      permuted_.push_back(fmt::format("\"{}\"", key.pattern()));
  }
  return fmt::format("granularity: feature_groups, groups: {}{}", setting.number, observed);
}

void Converter::node_rules(std::string& text) {
  if (command_.nodes.empty()) return;
  if (command_.nodes.count("Et") > 0) {
    text += "    - {sites: \"group:Et\", observer: {type: summed_mse, search: brent}}\n";
  }
  if (!is_bert()) {
    return unused(
        "--quant-dict: of BERT alone, in the published code, too, but for the estimator of word "
        "embeddings, which 'Et' changes");
  }
  // In the order of the published code, where what comes later wins: within a letter that of all
  // layers. Neighbours with equal settings are one rule.
  std::vector<std::pair<std::string, std::vector<std::string>>> rules;
  for (const published::QuantNode& node : published::quant_nodes()) {
    std::vector<std::pair<published::NodeKey, NodeSetting>> own;
    for (const auto& [name, setting] : command_.nodes) {
      const auto key = published::find_node(name);
      if (key->node == &node) own.emplace_back(*key, setting);
    }
    std::stable_sort(own.begin(), own.end(), [](const auto& a, const auto& b) {
      return a.first.layer.has_value() && !b.first.layer.has_value();
    });
    for (auto [key, setting] : own) {
      if (node.letter == "wP") {
        key = *published::find_node("P");
        differs(
            "--quant-dict: 'wP' changes the pooler's output in the published code, not its weight; "
            "so it does here");
      }
      const std::string rule = node_rule(key, setting);
      if (rules.empty() || rules.back().first != rule) rules.push_back({rule, {}});
      rules.back().second.push_back(fmt::format("\"{}\"", key.group()));
    }
  }
  for (const auto& [rule, sites] : rules) {
    std::string list = fmt::format("{}", fmt::join(sites, ", "));
    if (sites.size() > 1) list = "[" + list + "]";
    text += fmt::format("    - {{sites: {}, {}}}\n", list, rule);
  }
}

void Converter::cross_entropy_rule(std::string& text) {
  const std::string& layer = command_.cross_entropy_layer;
  if (layer.empty()) return;
  const bool logits = layer == (is_bert() ? "classifier" : "classifier.out_proj");
  if (!logits && layer != "bert.pooler.dense_act.0") {
    throw ConfigError(
        fmt::format("--cross-entropy-layer: {} is not imported; leave the option out, and add a "
                    "rule with `observer: cross_entropy` for its site",
                    layer));
  }
  const bool brent = logits && is_bert() && command_.setup == "MSE_logits";
  text += fmt::format("    - {{sites: \"group:{}\", observer: {}}}\n", logits ? "C" : "P",
                      brent ? "{type: cross_entropy, search: brent}" : "cross_entropy");
}

void Converter::rounding_rules(std::string& text) {
  if (!command_.rounding) return;
  std::vector<std::string> sites;
  for (const std::string& layer : command_.rounding->layers) {
    sites.push_back(fmt::format("\"weight:{}\"", published::weight_site_of(layer)));
  }
  text += fmt::format("    - {{sites: [{}], quantizer: adaround}}\n",
                      sites.empty() ? "\"weight:*\"" : fmt::format("{}", fmt::join(sites, ", ")));
}

std::string Converter::rules() {
  const char* learned =
      command_.trains && command_.training.learns_ranges ? ", quantizer: learned_range" : "";
  std::string text = fmt::format(
      "quant:\n  include: placements/qualcomm.yaml\n  rules:\n"
      "    - {{sites: \"weight:*\", bits: {}, symmetric: {}, granularity: {}, observer: {}{}}}\n"
      "    - {{sites: \"activation:*\", bits: {}, symmetric: {}, observer: {}{}}}\n",
      command_.weight_bits, command_.symmetric_weights,
      command_.per_channel ? "channel, axis: 0" : "tensor",
      observer(command_.weight_method, command_.weight_search, command_.weight_candidates), learned,
      command_.activation_bits, command_.symmetric_activations, activation_observer(), learned);
  rounding_rules(text);
  setup_rules(text);
  group_rules(text);
  node_rules(text);
  cross_entropy_rule(text);
  if (!command_.quantize_weights) text += "    - {sites: \"weight:*\", quantize: false}\n";
  if (!command_.quantize_activations) {
    text += "    - {sites: \"activation:*\", quantize: false}\n";
    permuted_.clear();
  }
  return text;
}

std::string Converter::pipeline() {
  std::vector<std::string> steps;
  if (permutes()) {
    std::string step =
        fmt::format("permute_groups: {{network: published, batches: {}{}", kPermutationBatches,
                    command_.permute_shared ? ", shared: layer" : "");
    if (!all_permuted_) step += fmt::format(", sites: [{}]", fmt::join(permuted_, ", "));
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
  if (never_quantized_) {
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
  const std::string quant = rules();
  text += calibration() + quant + pipeline();
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
