#include "framework/import/qualcomm_command.h"

#include <fmt/ranges.h>
#include <cctype>
#include <limits>

#include "framework/base/error.h"
#include "framework/import/qualcomm_options.h"

namespace quell::published {
namespace {

constexpr std::string_view kMethods[] = {"symmetric_uniform", "asymmetric_uniform"};
constexpr std::string_view kEstimators[] = {"current_minmax", "allminmax", "running_minmax", "MSE",
                                            "cross_entropy"};
constexpr std::string_view kSearches[] = {"grid", "golden_section"};
constexpr std::string_view kSetups[] = {"all", "FP_logits", "MSE_logits"};
constexpr std::string_view kModels[] = {"bert_base_uncased",  "bert_large_uncased",
                                        "bert_base_cased",    "roberta_base",
                                        "distilroberta_base", "mobilebert_uncased"};
constexpr std::string_view kTasks[] = {"cola", "sst2", "mrpc", "stsb", "qqp",
                                       "mnli", "qnli", "rte",  "wnli"};

bool searches(const std::string& method) { return method == "MSE" || method == "cross_entropy"; }

// Combinations that end in an exception there.
void check_combinations(CommandWords& words, const QualcommCommand& command) {
  const auto needs = [&](const char* option, bool given, bool met, const char* what) {
    if (given && !met) {
      words.problem(
          fmt::format("{}: is for {}, and an error in the published code without it; "
                      "leave it out",
                      option, what));
    }
  };
  needs("--num-candidates", command.weight_candidates.has_value(), searches(command.weight_method),
        "--weight-quant-method MSE or cross_entropy");
  needs("--act-num-candidates", command.activation_candidates.has_value(),
        command.activation_method == "MSE", "--act-quant-method MSE");
  needs("--act-momentum", command.momentum.has_value(),
        command.activation_method == "running_minmax", "--act-quant-method running_minmax");
  needs("--act-opt-method", command.activation_search != "grid",
        searches(command.activation_method), "--act-quant-method MSE or cross_entropy");
  needs("--percentile", command.percentile.has_value(),
        command.activation_method == "current_minmax", "--act-quant-method current_minmax");
  const bool permuted_nodes = std::any_of(
      command.nodes.begin(), command.nodes.end(),
      [](const auto& node) { return node.second.kind == NodeSetting::Kind::kPermutedGroups; });
  needs("--per-groups-permute-shared-h", command.permute_shared,
        permuted_nodes || (command.permute && command.groups),
        "nodes of --quant-dict with 'ngpK', or --per-groups with --per-groups-permute");
}

void read_estimation(CommandWords& words, QualcommCommand& command) {
  constexpr int64_t kMany = 1'000'000;
  std::string method, activation_method;
  words.choice("--qmethod", method, kMethods);
  activation_method = method;
  words.choice("--qmethod-act", activation_method, kMethods);
  if (!words.given("--qmethod")) {
    words.problem("--qmethod: missing: symmetric_uniform or asymmetric_uniform, of the weights");
  }
  command.symmetric_weights = method == "symmetric_uniform";
  command.symmetric_activations = activation_method == "symmetric_uniform";
  words.choice("--weight-quant-method", command.weight_method, kEstimators);
  words.choice("--weight-opt-method", command.weight_search, kSearches);
  words.number<int64_t>("--num-candidates", command.weight_candidates, 1, 100'000);
  words.number<int64_t>("--n-bits", command.weight_bits, 2, 16);
  command.activation_bits = command.weight_bits;
  words.number<int64_t>("--n-bits-act", command.activation_bits, 2, 16);
  words.flag("--per-channel", command.per_channel);
  words.number<double>("--percentile", command.percentile, 0, 50);
  words.flag("--act-quant", command.quantize_activations);
  words.flag("--weight-quant", command.quantize_weights);
  words.choice("--quant-setup", command.setup, kSetups);
  words.choice("--act-quant-method", command.activation_method, kEstimators);
  words.choice("--act-opt-method", command.activation_search, kSearches);
  words.number<int64_t>("--act-num-candidates", command.activation_candidates, 1, 100'000);
  words.number<double>("--act-momentum", command.momentum, 0, 1);
  words.text("--cross-entropy-layer", command.cross_entropy_layer);
  words.number<int64_t>("--num-est-batches", command.estimation_batches, 1, kMany);
  words.number<int64_t>("--est-ranges-batch-size", command.estimation_batch_size, 1, kMany);
  words.flag("--est-ranges-pad", command.pad_estimation);
  words.flag("--per-embd", command.per_embedding);
  words.number<int64_t>("--per-groups", command.groups, 1, kMany);
  words.flag("--per-groups-permute", command.permute);
  words.flag("--per-groups-permute-shared-h", command.permute_shared);
  std::string nodes;
  words.text("--quant-dict", nodes);
  if (!nodes.empty()) command.nodes = read_node_settings(nodes, words);
  check_combinations(words, command);
}

void read_task(CommandWords& words, QualcommCommand& command) {
  const std::vector<std::string>& tasks = words.all("--task");
  if (!tasks.empty()) {
    command.task = tasks.back();
    for (char& c : command.task) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (tasks.size() > 1 || command.task == "all") {
      words.problem("--task: an experiment has one task; import the command once for each");
    } else if (!is_one_of(command.task, kTasks)) {
      words.problem(
          fmt::format("--task: unknown \"{}\"; known: {}", tasks.back(), fmt::join(kTasks, ", ")));
    }
  }
  words.choice("--model-name", command.model_name, kModels);
  words.text("--model-path", command.model_path);
}

constexpr std::string_view kGrids[] = {"range_estimator", "mse", "mse_out", "mse_out_asym"};
constexpr std::string_view kModes[] = {"learned_sigmoid", "learned_hard_sigmoid",
                                       "sigmoid_temp_decay"};
constexpr std::string_view kDecays[] = {"cosine", "linear"};
constexpr std::string_view kAfterwards[] = {"no_act_quant", "post_adaround"};

std::vector<std::string> listed(const std::string& text) {
  std::vector<std::string> names;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t comma = std::min(text.find(',', begin), text.size());
    std::string name = text.substr(begin, comma - begin);
    name.erase(0, name.find_first_not_of(' '));
    name.erase(name.find_last_not_of(' ') + 1);
    if (!name.empty()) names.push_back(std::move(name));
    begin = comma + 1;
  }
  return names;
}

void read_rounding(CommandWords& words, RoundingCommand& rounding) {
  constexpr int64_t kMany = 1'000'000'000;
  std::string layers, afterwards = "post_adaround";
  words.text("--adaround", layers);
  rounding.layers = listed(layers);
  if (std::find(rounding.layers.begin(), rounding.layers.end(), "all") != rounding.layers.end()) {
    rounding.layers.clear();
  } else if (rounding.layers.empty()) {
    words.problem("--adaround: expected `all`, or names of layers with commas between them");
  }
  for (const std::string& layer : rounding.layers) {
    if (!weight_site_of(layer).empty()) continue;
    words.problem(
        fmt::format("--adaround: no layer with a weight is called \"{}\"; one of BERT is "
                    "bert.encoder.layer.0.attention.self.query",
                    layer));
  }
  words.number<int64_t>("--adaround-num-samples", rounding.samples, 1, kMany);
  words.choice("--adaround-init", rounding.grid, kGrids);
  words.choice("--adaround-mode", rounding.mode, kModes);
  words.flag("--adaround-asym", rounding.asymmetric);
  words.flag("--adaround-include-act-func", rounding.with_activation_function);
  words.number<double>("--adaround-lr", rounding.learning_rate, 1e-12, 1e6);
  words.number<int64_t>("--adaround-iters", rounding.iterations, 1, kMany);
  words.number<double>("--adaround-weight", rounding.regularizer, 0, 1e9);
  words.two_numbers<double>("--adaround-annealing", rounding.beta_start, rounding.beta_end, 1e-6,
                            1e6);
  words.choice("--adaround-decay-type", rounding.decay, kDecays);
  words.number<double>("--adaround-warmup", rounding.warmup, 0, 0.99);
  words.choice("--adaround-act-quant", afterwards, kAfterwards);
  rounding.quantizes_activations = afterwards == "post_adaround";
  double start = 0;
  words.number<double>("--adaround-decay-start", start, 0, 1);
  if (start > 0) {
    words.problem(
        "--adaround-decay-start: here the exponent falls from the end of the warm-up on; leave it "
        "out, or choose a longer --adaround-warmup");
  }
}

void read_training(CommandWords& words, TrainingCommand& training) {
  constexpr int64_t kMany = 1'000'000;
  words.number<double>("--learning-rate", training.learning_rate, 1e-12, 1e3);
  words.number<double>("--weight-decay", training.weight_decay, 0, 1e3);
  words.number<double>("--max-grad-norm", training.largest_gradient, 0, 1e9);
  words.number<int64_t>("--num-epochs", training.epochs, 1, kMany);
  words.number<int64_t>("--warmup-steps", training.warmup_steps, 0, kMany);
  words.number<double>("--attn-dropout", training.attention_dropout, 0, 0.99);
  words.number<double>("--hidden-dropout", training.hidden_dropout, 0, 0.99);
  words.flag("--learn-ranges", training.learns_ranges);
  words.flag("--fix-act-ranges", training.fixes_activations);
  words.flag("--fix-weight-ranges", training.fixes_weights);
  words.flag("--save-model", training.saves_model);
  int64_t steps = 0, accumulated = 1;
  words.number<int64_t>("--max-steps", steps, 0, kMany);
  if (steps > 0) {
    words.problem(
        "--max-steps: a number of steps is no setting of `qat`; say --num-epochs, and `samples` of "
        "`qat` for a part of one");
  }
  words.number<int64_t>("--gradient-accumulation-steps", accumulated, 1, kMany);
  if (accumulated > 1) {
    words.problem(
        "--gradient-accumulation-steps: each step takes one batch here; leave it out, and multiply "
        "--batch-size by it");
  }
  if (training.hidden_dropout && !training.attention_dropout) {
    words.problem(
        "--hidden-dropout: the published code sets it to the value of --attn-dropout, and fails "
        "without one; say both");
  }
}

// One note for those of `names` that are given.
void note_unused(const CommandWords& words, std::span<const std::string_view> names,
                 const char* reason, ImportNotes& notes) {
  std::vector<std::string_view> given;
  for (const std::string_view name : names) {
    if (words.given(name)) given.push_back(name);
  }
  if (given.empty()) return;
  notes.push_back(
      {ImportNote::Kind::kNoEffect, fmt::format("{}: {}", fmt::join(given, ", "), reason)});
}

constexpr std::string_view kTrainingOptions[] = {
    "--attn-dropout", "--hidden-dropout", "--learning-rate",
    "--weight-decay", "--max-grad-norm",  "--num-epochs",
    "--max-steps",    "--warmup-steps",   "--gradient-accumulation-steps",
    "--learn-ranges", "--fix-act-ranges", "--fix-weight-ranges",
    "--save-model"};
constexpr std::string_view kRoundingOptions[] = {"--adaround-num-samples",
                                                 "--adaround-init",
                                                 "--adaround-mode",
                                                 "--adaround-asym",
                                                 "--adaround-include-act-func",
                                                 "--adaround-lr",
                                                 "--adaround-iters",
                                                 "--adaround-weight",
                                                 "--adaround-annealing",
                                                 "--adaround-decay-type",
                                                 "--adaround-decay-start",
                                                 "--adaround-warmup",
                                                 "--adaround-act-quant"};

void read_rounding_and_training(CommandWords& words, QualcommCommand& command, ImportNotes& notes) {
  if (command.trains) {
    read_training(words, command.training);
  } else {
    note_unused(words, kTrainingOptions, "of train-quantized and train-baseline", notes);
  }
  if (words.given("--adaround") && command.quantizes && !command.trains &&
      command.quantize_weights) {
    read_rounding(words, command.rounding.emplace());
    command.quantize_activations = command.rounding->quantizes_activations;
    return;
  }
  if (words.given("--adaround")) {
    notes.push_back({ImportNote::Kind::kNoEffect,
                     "--adaround: only of validate-quantized with quantized weights, in the "
                     "published code, too"});
  }
  note_unused(words, kRoundingOptions, "only together with --adaround", notes);
}

}  // namespace

bool is_qualcomm_command(const std::vector<std::string>& words) {
  if (words.empty()) return false;
  return words.front().starts_with("--") ||
         std::any_of(words.begin(), words.end(), [](const std::string& word) {
           return is_one_of(word, qualcomm_language().commands);
         });
}

QualcommCommand read_qualcomm_command(const std::vector<std::string>& given, ImportNotes& notes) {
  constexpr int64_t kMany = 1'000'000;
  CommandWords words(given, qualcomm_language());
  QualcommCommand command;
  command.trains = words.command().starts_with("train-");
  command.quantizes = !words.command().ends_with("-baseline");
  words.refuse();
  read_task(words, command);
  words.number<int64_t>("--seed", command.seed, 0, std::numeric_limits<int64_t>::max());
  words.number<int64_t>("--max-seq-length", command.max_length, 4, kMany);
  words.flag("--pad-to-max-length", command.pad);
  words.number<int64_t>("--batch-size", command.batch_size, 1, kMany);
  words.number<int64_t>("--eval-batch-size", command.evaluation_batch_size, 1, kMany);
  words.number<int64_t>("--num-train-samples", command.training_samples, 1, kMany);
  words.number<int64_t>("--num-val-samples", command.validation_samples, 1, kMany);
  if (command.quantizes) read_estimation(words, command);
  read_rounding_and_training(words, command, notes);
  words.throw_if_any();
  words.note_without_effect(notes);
  return command;
}

}  // namespace quell::published
