#include "framework/import/qualcomm_command.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <cctype>
#include <charconv>
#include <limits>
#include <set>
#include <span>

#include "framework/base/error.h"
#include "framework/base/suggest.h"
#include "framework/import/qualcomm_nodes.h"

namespace quell::published {
namespace {

constexpr std::string_view kTraining = "an argument of training, which does not happen here";
constexpr std::string_view kLogging = "quell keeps everything in the folder of the run";
constexpr std::string_view kLocal =
    "models and data are local folders, model.path and task.path; nothing is downloaded or cached";
constexpr std::string_view kThreads = "models run on the CPU, on as many `threads` as you say";
constexpr std::string_view kUnused = "declared, but without an effect in the published code, too";
constexpr std::string_view kAdaround = "only together with --adaround";

enum class Takes { kSwitch, kValue, kTwoValues };

struct Option {
  std::string_view name;
  Takes takes = Takes::kValue;
  std::string_view off = {};             // of a switch that can be switched off
  std::string_view without_effect = {};  // why; empty: it has one
  std::string_view refused = {};         // why, with the way out; empty: it is not
};

constexpr Option without_effect(std::string_view name, std::string_view reason,
                                Takes takes = Takes::kValue, std::string_view off = {}) {
  return {name, takes, off, reason};
}

constexpr Option kOptions[] = {
    {"--qmethod"},
    {"--qmethod-act"},
    {"--weight-quant-method"},
    {"--weight-opt-method"},
    {"--num-candidates"},
    {"--n-bits"},
    {"--n-bits-act"},
    {"--per-channel", Takes::kSwitch},
    {"--percentile"},
    {"--act-quant", Takes::kSwitch, "--no-act-quant"},
    {"--weight-quant", Takes::kSwitch, "--no-weight-quant"},
    {"--quant-setup"},
    {"--act-quant-method"},
    {"--act-opt-method"},
    {"--act-num-candidates"},
    {"--act-momentum"},
    {"--cross-entropy-layer"},
    {"--num-est-batches"},
    {"--est-ranges-pad", Takes::kSwitch, "--est-ranges-no-pad"},
    {"--est-ranges-batch-size"},
    {"--quant-dict"},
    {"--per-embd", Takes::kSwitch},
    {"--per-groups"},
    {"--per-groups-permute", Takes::kSwitch},
    {"--per-groups-permute-shared-h", Takes::kSwitch},
    {"--seed"},
    {"--task"},
    {"--model-name"},
    {"--model-path"},
    {"--max-seq-length"},
    {"--pad-to-max-length", Takes::kSwitch, "--no-pad-to-max-length"},
    {"--batch-size"},
    {"--eval-batch-size"},
    {"--num-train-samples"},
    {"--num-val-samples"},
    {"--per-token",
     Takes::kSwitch,
     {},
     {},
     "one range per position of the sequence, for all sequences of a batch, is no granularity "
     "here; "
     "leave it out and give the activations `granularity: token`, which is one per token"},
    {"--dynamic",
     Takes::kSwitch,
     {},
     {},
     "ranges that follow every batch are no granularity here; leave it out, or give the "
     "activations "
     "`granularity: token`, where they follow every token"},
    {"--adaround",
     Takes::kValue,
     {},
     {},
     "the rounding of weights is not imported; leave it out, import, and add a step for it to the "
     "pipeline"},
    {"--quant-model-path",
     Takes::kValue,
     {},
     {},
     "stored quantizers of that code are not read; leave it out, ranges are estimated anew"},
    without_effect("--double", "everything is computed in float32", Takes::kSwitch),
    without_effect("--data-dir", kLocal),
    without_effect("--cache-dir", kLocal),
    without_effect("--overwrite-cache", kLocal, Takes::kSwitch),
    without_effect("--line-by-line", kUnused, Takes::kSwitch),
    without_effect("--use-fast-tokenizer", "the tokenizer is that of the model's folder",
                   Takes::kSwitch),
    without_effect("--cuda", kThreads, Takes::kSwitch, "--no-cuda"),
    without_effect("--num-workers", kThreads),
    without_effect("--output-dir", "results go to runs/NAME, or where `quell run --output` says"),
    without_effect("--overwrite-output", "say `quell run --overwrite`", Takes::kSwitch),
    without_effect("--do-eval", "`stages` says when the task is evaluated", Takes::kSwitch,
                   "--no-eval"),
    without_effect("--attn-dropout", kTraining),
    without_effect("--hidden-dropout", kTraining),
    without_effect("--learning-rate", kTraining),
    without_effect("--lr-scheduler-type", kTraining),
    without_effect("--weight-decay", kTraining),
    without_effect("--max-grad-norm", kTraining),
    without_effect("--num-epochs", kTraining),
    without_effect("--max-steps", kTraining),
    without_effect("--warmup-steps", kTraining),
    without_effect("--gradient-accumulation-steps", kTraining),
    without_effect("--amp", kUnused, Takes::kSwitch),
    without_effect("--amp-opt-level", kUnused),
    without_effect("--ffn-weight-decay", kUnused),
    without_effect("--gamma", kUnused),
    without_effect("--margin", kUnused),
    without_effect("--save-attn", kUnused, Takes::kSwitch),
    without_effect("--tqdm", kLogging, Takes::kSwitch, "--no-tqdm"),
    without_effect("--eval-during-training", kTraining, Takes::kSwitch),
    without_effect("--eval-strategy", kTraining),
    without_effect("--eval-steps", kTraining),
    without_effect("--tb", "`record: {outliers: {}}` stores histograms of activations",
                   Takes::kSwitch),
    without_effect("--tb-logging-dir", kLogging),
    without_effect("--tb-graph", kLogging, Takes::kSwitch),
    without_effect("--logging-first-step", kLogging, Takes::kSwitch),
    without_effect("--logging-steps", kLogging),
    without_effect("--save-steps", kLogging),
    without_effect("--save-total-limit", kLogging),
    without_effect("--save-model", kLogging, Takes::kSwitch),
    without_effect("--run-name", kLogging),
    without_effect("--load-best-model-at-end", kTraining, Takes::kSwitch),
    without_effect("--metric-for-best-model", kTraining),
    without_effect("--greater-is-better", kTraining),
    without_effect("--adaround-num-samples", kAdaround),
    without_effect("--adaround-init", kAdaround),
    without_effect("--adaround-mode", kAdaround),
    without_effect("--adaround-asym", kAdaround, Takes::kSwitch, "--no-adaround-asym"),
    without_effect("--adaround-include-act-func", kAdaround, Takes::kSwitch,
                   "--adaround-no-act-func"),
    without_effect("--adaround-lr", kAdaround),
    without_effect("--adaround-iters", kAdaround),
    without_effect("--adaround-weight", kAdaround),
    without_effect("--adaround-annealing", kAdaround, Takes::kTwoValues),
    without_effect("--adaround-decay-type", kAdaround),
    without_effect("--adaround-decay-shape", kAdaround),
    without_effect("--adaround-decay-start", kAdaround),
    without_effect("--adaround-warmup", kAdaround),
    without_effect("--adaround-act-quant", kAdaround)};

constexpr std::string_view kCommands[] = {"validate-quantized", "validate-baseline",
                                          "train-quantized", "train-baseline"};

bool is_one_of(std::string_view word, std::span<const std::string_view> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// Options and their values as they stand in a command; the problems of all of them.
class Words {
 public:
  explicit Words(const std::vector<std::string>& words) {
    for (size_t i = 0; i < words.size(); ++i) {
      if (words[i].starts_with("--")) {
        i = take_option(words, i);
      } else if (is_one_of(words[i], kCommands)) {
        command_ = words[i];
      } else if (!command_.empty() || !values_.empty()) {
        problem(fmt::format("{}: expected an option, such as --n-bits", words[i]));
      }  // else: python main.py, and the like
    }
  }

  const std::string& command() const { return command_; }
  bool given(std::string_view name) const { return values_.count(name) > 0; }

  void text(std::string_view name, std::string& to) const {
    if (const std::string* value = last(name)) to = *value;
  }
  void choice(std::string_view name, std::string& to, std::span<const std::string_view> known) {
    const std::string* value = last(name);
    if (value == nullptr) return;
    if (!is_one_of(*value, known)) {
      return problem(
          fmt::format("{}: unknown \"{}\"; known: {}", name, *value, fmt::join(known, ", ")));
    }
    to = *value;
  }
  template <class Number, class Place>
  void number(std::string_view name, Place& to, Number least, Number most) {
    const std::string* value = last(name);
    if (value == nullptr) return;
    Number found{};
    const char* end = value->data() + value->size();
    const auto [stop, error] = std::from_chars(value->data(), end, found);
    if (error != std::errc() || stop != end) {
      return problem(fmt::format("{}: expected a number, found \"{}\"", name, *value));
    }
    if (found < least || found > most) {
      return problem(fmt::format("{}: must be in [{}, {}], found {}", name, least, most, found));
    }
    to = found;
  }
  template <class Place>
  void flag(std::string_view name, Place& to) const {
    const std::string* value = last(name);
    if (value != nullptr) to = value->empty();  // the word that switches off stands for itself
  }
  const std::vector<std::string>& all(std::string_view name) const {
    static const std::vector<std::string> none;
    const auto found = values_.find(name);
    return found == values_.end() ? none : found->second;
  }

  void problem(std::string text) { problems_.push_back(std::move(text)); }
  void throw_if_any() const {
    if (!problems_.empty()) throw ConfigError(fmt::format("{}", fmt::join(problems_, "\n")));
  }

 private:
  // The index of its last word.
  size_t take_option(const std::vector<std::string>& words, size_t index) {
    const size_t equals = words[index].find('=');
    const std::string name = words[index].substr(0, equals);
    const auto* option =
        std::find_if(std::begin(kOptions), std::end(kOptions), [&](const Option& known) {
          return known.name == name || (!known.off.empty() && known.off == name);
        });
    if (option == std::end(kOptions)) {
      problem(unknown_option(name));
      // Its value, if it has one.
      const bool value = index + 1 < words.size() && !words[index + 1].starts_with("--");
      return value && equals == std::string::npos ? index + 1 : index;
    }
    std::vector<std::string>& values = values_[option->name];
    if (option->takes == Takes::kSwitch) {
      values.push_back(name == option->off ? name : "");
      return index;
    }
    if (equals != std::string::npos) {
      values.push_back(words[index].substr(equals + 1));
      return index;
    }
    const size_t count = option->takes == Takes::kTwoValues ? 2 : 1;
    if (index + count >= words.size()) {
      problem(fmt::format("{}: its value is missing", name));
      return words.size();
    }
    values.push_back(words[index + 1]);
    return index + count;
  }

  std::string unknown_option(const std::string& name) const {
    if (name == "--learn-ranges" || name.starts_with("--fix-") || name.starts_with("--no-fix-")) {
      return fmt::format("{}: belongs to train-quantized", name);
    }
    std::vector<std::string> known;
    for (const Option& option : kOptions) known.emplace_back(option.name);
    const auto match = closest_match(name, known);
    return fmt::format("{}: unknown option{}", name,
                       match ? fmt::format("; did you mean {}?", *match) : "");
  }

  const std::string* last(std::string_view name) const {
    const auto found = values_.find(name);
    return found == values_.end() || found->second.empty() ? nullptr : &found->second.back();
  }

  std::string command_;
  std::map<std::string_view, std::vector<std::string>> values_;
  std::vector<std::string> problems_;
};

// A dictionary of Python with strings as keys and strings, integers or None as values.
class Dictionary {
 public:
  explicit Dictionary(std::string_view text) : text_(text) {}

  // Empty where it is none.
  std::optional<std::map<std::string, std::string>> read() {
    std::map<std::string, std::string> values;
    if (!take('{')) return {};
    while (!take('}')) {
      const auto key = string();
      if (!key || !take(':')) return {};
      const auto value = string_or_word();
      if (!value) return {};
      values[*key] = *value;
      if (!take(',') && next() != '}') return {};
    }
    return next() == '\0' ? std::optional(values) : std::nullopt;
  }

 private:
  char next() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])) != 0) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool take(char expected) {
    if (next() != expected) return false;
    ++at_;
    return true;
  }
  std::optional<std::string> string() {
    const char quote = next();
    if (quote != '\'' && quote != '"') return {};
    const size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) return {};
    std::string value(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return value;
  }
  std::optional<std::string> string_or_word() {
    if (auto quoted = string()) return quoted;
    std::string word;
    while (std::isalnum(static_cast<unsigned char>(next())) != 0) word += text_[at_++];
    return word.empty() ? std::nullopt : std::optional(word);
  }

  std::string_view text_;
  size_t at_ = 0;
};

std::optional<int64_t> whole_number(std::string_view text) {
  int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || text.empty()) return {};
  return value;
}

std::optional<NodeSetting> setting_of(const std::string& value) {
  using Kind = NodeSetting::Kind;
  if (value == "fp32") return NodeSetting{Kind::kFloat};
  if (value == "per_embd") return NodeSetting{Kind::kPerEmbedding};
  const bool permuted = value.starts_with("ngp"), groups = value.starts_with("ng");
  const auto number = whole_number(std::string_view(value).substr(permuted ? 3 : groups ? 2 : 0));
  if (!number || *number < 1) return {};
  if (!groups && (*number < 2 || *number > 16)) return {};
  return NodeSetting{permuted ? Kind::kPermutedGroups
                     : groups ? Kind::kGroups
                              : Kind::kBits,
                     *number};
}

void read_nodes(const std::string& text, Words& words, QualcommCommand& command) {
  const auto dictionary = Dictionary(text).read();
  if (!dictionary) {
    return words.problem(fmt::format(
        "--quant-dict: expected a dictionary such as {{'y': 16, 'h': 'ng6'}}, found {}", text));
  }
  for (const auto& [key, value] : *dictionary) {
    const auto node = find_node(key);
    if (!node) {
      words.problem(fmt::format(
          "--quant-dict: unknown node \"{}\"; known: {}; those of layers also with a number: y11",
          key, fmt::join(node_letters(), ", ")));
      continue;
    }
    if (value == "None") continue;
    const auto setting = setting_of(value);
    const bool bits = setting && (setting->kind == NodeSetting::Kind::kBits ||
                                  setting->kind == NodeSetting::Kind::kFloat);
    if (!setting) {
      words.problem(fmt::format(
          "--quant-dict: {}: expected bits from 2 to 16, 'fp32', 'per_embd', 'ngK' or 'ngpK', "
          "found {}",
          key, value));
    } else if (!bits && !node->node->has_features) {
      words.problem(
          fmt::format("--quant-dict: {}: {} is for activations with features; found for {}", key,
                      value, node->node->what));
    } else {
      command.nodes[key] = *setting;
    }
  }
}

void note_options_without_effect(const Words& words, ImportNotes& notes) {
  std::vector<std::pair<std::string_view, std::string>> reasons;
  for (const Option& option : kOptions) {
    if (option.without_effect.empty() || !words.given(option.name)) continue;
    const auto same = std::find_if(reasons.begin(), reasons.end(), [&](const auto& reason) {
      return reason.first == option.without_effect;
    });
    if (same == reasons.end()) {
      reasons.emplace_back(option.without_effect, option.name);
    } else {
      same->second += fmt::format(", {}", option.name);
    }
  }
  for (const auto& [reason, names] : reasons) {
    notes.push_back({ImportNote::Kind::kNoEffect, fmt::format("{}: {}", names, reason)});
  }
}

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
void check_combinations(Words& words, const QualcommCommand& command) {
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

void read_estimation(Words& words, QualcommCommand& command) {
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
  if (!nodes.empty()) read_nodes(nodes, words, command);
  check_combinations(words, command);
}

void read_task(Words& words, QualcommCommand& command) {
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

}  // namespace

std::vector<std::string> shell_words(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  bool inside = false;  // of a word, which may be empty
  const auto end_word = [&] {
    if (inside) words.push_back(word);
    word.clear();
    inside = false;
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\'' || c == '"') {
      inside = true;
      for (++i; i < text.size() && text[i] != c; ++i) {
        if (c == '"' && text[i] == '\\' && i + 1 < text.size()) ++i;
        word += text[i];
      }
      if (i >= text.size()) {
        throw ConfigError(fmt::format("a quote ({}) of the command is not closed", c));
      }
    } else if (c == '\\' && i + 1 < text.size()) {
      ++i;
      if (text[i] == '\r' && i + 1 < text.size()) ++i;
      if (text[i] != '\n') {
        word += text[i];
        inside = true;
      }
    } else if (std::isspace(static_cast<unsigned char>(c)) != 0) {
      end_word();
    } else if (c == '#' && !inside) {
      while (i < text.size() && text[i] != '\n') ++i;
    } else {
      word += c;
      inside = true;
    }
  }
  end_word();
  return words;
}

bool is_qualcomm_command(const std::vector<std::string>& words) {
  if (words.empty()) return false;
  return words.front().starts_with("--") ||
         std::any_of(words.begin(), words.end(),
                     [](const std::string& word) { return is_one_of(word, kCommands); });
}

QualcommCommand read_qualcomm_command(const std::vector<std::string>& given, ImportNotes& notes) {
  constexpr int64_t kMany = 1'000'000;
  Words words(given);
  QualcommCommand command;
  if (words.command().starts_with("train-")) {
    words.problem(fmt::format(
        "{}: training is not imported; import the command as validate-quantized, and add the step "
        "`qat` to the pipeline",
        words.command()));
    words.throw_if_any();
  }
  command.quantizes = words.command() != "validate-baseline";
  for (const Option& option : kOptions) {
    if (!option.refused.empty() && words.given(option.name)) {
      words.problem(fmt::format("{}: {}", option.name, option.refused));
    }
  }
  read_task(words, command);
  words.number<int64_t>("--seed", command.seed, 0, std::numeric_limits<int64_t>::max());
  words.number<int64_t>("--max-seq-length", command.max_length, 4, kMany);
  words.flag("--pad-to-max-length", command.pad);
  words.number<int64_t>("--batch-size", command.batch_size, 1, kMany);
  words.number<int64_t>("--eval-batch-size", command.evaluation_batch_size, 1, kMany);
  words.number<int64_t>("--num-train-samples", command.training_samples, 1, kMany);
  words.number<int64_t>("--num-val-samples", command.validation_samples, 1, kMany);
  if (command.quantizes) read_estimation(words, command);
  words.throw_if_any();
  note_options_without_effect(words, notes);
  return command;
}

}  // namespace quell::published
