#include <fmt/format.h>
#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <numbers>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "framework/base/error.h"
#include "framework/config/enum_name.h"
#include "framework/io/sha256.h"
#include "framework/plugin/registry.h"
#include "framework/task/task.h"
#include "tasks/data/batching.h"
#include "tasks/data/data_files.h"
#include "tasks/data/perplexity_params.h"
#include "tasks/data/scored_sequences.h"
#include "tasks/data/text_documents.h"
#include "tasks/data/text_encoder.h"
#include "tasks/data/text_windows.h"
#include "tasks/data/wikitext.h"

namespace quell {
namespace {

// What one prediction stands for: a window, or with rolling windows a text.
struct Unit {
  int64_t targets = 0;
  int64_t words = 0, bytes = 0;               // of a text
  std::map<std::string, std::string> hashes;  // of a text
};

// How well a language model predicts a text. Calibration takes windows of the training text, drawn
// as draw_without_replacement() says.
class Perplexity final : public Task {
 public:
  Perplexity(const PerplexityParams& params, const TaskContext& context);

  std::vector<Batch> calibration(const CalibrationOptions& options, uint64_t seed) override;
  Evaluation evaluate(const Predictor& predictor,
                      const std::function<void(int64_t, int64_t)>& progress) override;
  std::vector<int64_t> calibration_indices() const override { return calibration_indices_; }
  std::vector<std::string> files() const override { return files_; }
  std::vector<std::string> notes() const override { return notes_; }
  std::vector<std::pair<std::string, std::string>> protocol() const override;

 private:
  bool rolling() const { return params_.kind == PerplexityKind::kRolling; }
  TextData read(const std::filesystem::path& file);
  TextData read_split(const std::string& split);
  std::vector<int64_t> encode_whole(const TextData& data) const;
  // Each adds units, and returns their windows.
  std::vector<ScoredSequence> cut_texts(const TextData& data);
  std::vector<ScoredSequence> cut_whole(const TextData& data);
  void add_unit(Unit unit, std::span<const ScoredSequence> windows);
  std::vector<TokenSequence> calibration_sequences(const TextData& data) const;
  std::optional<int64_t> start_of_windows() const;
  Metrics metrics(std::span<const double> sums) const;

  PerplexityParams params_;
  TaskContext context_;
  int64_t length_ = 0;
  std::optional<TextEncoder> encoder_;
  std::vector<Unit> units_;
  std::vector<Batch> batches_;
  std::vector<int64_t> unit_of_;  // [windows]
  std::vector<int64_t> calibration_indices_;
  std::vector<std::string> files_;
  std::vector<std::string> notes_;
};

Perplexity::Perplexity(const PerplexityParams& params, const TaskContext& context)
    : params_(params), context_(context) {
  if (context_.model_config == nullptr) return;
  constexpr int64_t kUsualOfPapers = 2048;
  check_language_model(context_, "perplexity", "length", params_.length);
  length_ = params_.length > 0 ? params_.length : usual_length(context_);
  if (params_.length == 0 && !rolling()) length_ = std::min(length_, kUsualOfPapers);
  encoder_.emplace(context_, params_.bos, params_.prefix_token);
  const TextData data = read_split("dev");
  const std::vector<ScoredSequence> windows = rolling() ? cut_texts(data) : cut_whole(data);
  const std::vector<int64_t> alone(windows.size(), 1);
  batches_ = scoring_batches(windows, alone, {.batch_size = params_.batch_size});
}

TextData Perplexity::read(const std::filesystem::path& file) {
  TextData data = read_texts(file, params_.request());
  add_files(file, files_);
  return data;
}

TextData Perplexity::read_split(const std::string& split) {
  const std::string& given = split == "train" ? params_.train_file : params_.dev_file;
  return read(find_data_file(params_.path, given, split, text_file_names(split)));
}

// As in the papers, two line ends stand between texts.
std::vector<int64_t> Perplexity::encode_whole(const TextData& data) const {
  std::string text;
  for (const std::string& one : data.texts) {
    if (&one != &data.texts.front()) text += "\n\n";
    text += one;
  }
  return params_.bos_in_every_window ? encoder_->encode_plain(text) : encoder_->encode(text);
}

std::optional<int64_t> Perplexity::start_of_windows() const {
  return params_.bos_in_every_window ? std::optional(encoder_->prefix()) : std::nullopt;
}

void Perplexity::add_unit(Unit unit, std::span<const ScoredSequence> windows) {
  for (const ScoredSequence& window : windows) unit.targets += window.targets();
  unit_of_.insert(unit_of_.end(), windows.size(), std::ssize(units_));
  units_.push_back(std::move(unit));
}

std::vector<ScoredSequence> Perplexity::cut_whole(const TextData& data) {
  const std::vector<int64_t> ids = encode_whole(data);
  auto windows = params_.kind == PerplexityKind::kWindows
                     ? disjoint_windows(ids, length_, start_of_windows())
                     : strided_windows(ids, length_, params_.stride > 0 ? params_.stride : length_);
  if (windows.empty()) {
    throw DataError(fmt::format(
        "{}: has {} tokens, but a window {}; set task.length to {} or less, or take more text",
        data.file.string(), ids.size(), length_, std::max<size_t>(ids.size(), 2)));
  }
  if (params_.max_windows > 0 && params_.max_windows < std::ssize(windows)) {
    windows.resize(params_.max_windows);
  }
  for (const ScoredSequence& window : windows) add_unit({}, {&window, 1});
  return windows;
}

// Words and bytes are those of the text as it stands in the file.
std::vector<ScoredSequence> Perplexity::cut_texts(const TextData& data) {
  std::vector<ScoredSequence> all;
  for (const std::string& text : data.texts) {
    const std::string scored =
        params_.detokenizer == Detokenizer::kWikitext ? detokenize_wikitext(text) : text;
    const nlohmann::ordered_json document = {{data.column, text}};
    const std::string hash = sha256_of_text(scored);
    const auto windows = rolling_windows(encoder_->encode(scored), length_, encoder_->prefix());
    add_unit({0,
              count_words(text),
              std::ssize(text),
              {{"doc_hash", sha256_of_text(document.dump(2))},
               {"prompt_hash", hash},
               {"target_hash", hash}}},
             windows);
    all.insert(all.end(), windows.begin(), windows.end());
  }
  return all;
}

std::vector<TokenSequence> Perplexity::calibration_sequences(const TextData& data) const {
  const int64_t length = params_.calibration_length > 0 ? params_.calibration_length : length_;
  std::vector<TokenSequence> sequences;
  if (params_.calibration_cut == CalibrationCut::kDocuments) {
    for (const std::string& text : data.texts) {
      std::vector<int64_t> ids = encoder_->encode(text);
      if (std::ssize(ids) > length) ids.resize(length);
      if (ids.size() > 1) sequences.push_back({std::move(ids)});
    }
    return sequences;
  }
  for (ScoredSequence& window : disjoint_windows(encode_whole(data), length, start_of_windows())) {
    sequences.push_back({std::move(window.ids)});
  }
  return sequences;
}

std::vector<Batch> Perplexity::calibration(const CalibrationOptions& options, uint64_t seed) {
  const TextData data = options.file.empty() ? read_split(options.split) : read(options.file);
  const std::vector<TokenSequence> all = calibration_sequences(data);
  calibration_indices_ = draw_calibration(std::ssize(all), data.file.string(), options, seed);
  std::vector<TokenSequence> drawn;
  for (const int64_t index : calibration_indices_) drawn.push_back(all[index]);
  auto batches = calibration_batches(drawn, options, params_.batch_size, length_, context_.pad_id);
  for (Batch& batch : batches) score_next_tokens(batch);
  calibration_indices_.resize(static_cast<size_t>(batches.back().example_ids.back()) + 1);
  return batches;
}

Evaluation Perplexity::evaluate(const Predictor& predictor,
                                const std::function<void(int64_t, int64_t)>& progress) {
  const auto total = std::ssize(unit_of_);
  int64_t finished = 0;
  const auto scores = score_sequences(batches_, total, predictor, [&](int64_t windows) {
    finished += windows;
    if (progress) progress(finished, total);
  });
  std::vector<double> sums(units_.size());
  for (int64_t i = 0; i < total; ++i) sums[unit_of_[i]] += scores[i].log_likelihood;
  Evaluation evaluation;
  for (size_t i = 0; i < units_.size(); ++i) {
    Prediction prediction{"dev", static_cast<int64_t>(i), std::nullopt, {}};
    prediction.outputs["log_likelihood"] = {static_cast<float>(sums[i])};
    prediction.hashes = units_[i].hashes;
    evaluation.predictions.push_back(std::move(prediction));
  }
  evaluation.metrics = metrics(sums);
  return evaluation;
}

Metrics Perplexity::metrics(std::span<const double> sums) const {
  const double sum = std::accumulate(sums.begin(), sums.end(), 0.0);
  Unit all;
  for (const Unit& unit : units_) {
    all.targets += unit.targets;
    all.words += unit.words;
    all.bytes += unit.bytes;
  }
  const auto per = [&](int64_t count) { return -sum / static_cast<double>(count); };
  if (!rolling()) return {{"perplexity", std::exp(per(all.targets))}};
  return {{"word_perplexity", std::exp(per(all.words))},
          {"byte_perplexity", std::exp(per(all.bytes))},
          {"bits_per_byte", per(all.bytes) / std::numbers::ln2}};
}

std::vector<std::pair<std::string, std::string>> Perplexity::protocol() const {
  std::vector<std::pair<std::string, std::string>> result;
  if (rolling()) {
    result.emplace_back("harness", kHarness);
    if (params_.detokenizer == Detokenizer::kWikitext) result.emplace_back("task", "wikitext 2.0");
  }
  result.emplace_back("kind", enum_name(params_.kind));
  result.emplace_back("length", std::to_string(length_));
  if (params_.kind == PerplexityKind::kStrided) {
    result.emplace_back("stride", std::to_string(params_.stride > 0 ? params_.stride : length_));
  }
  result.emplace_back("bos", params_.bos_in_every_window ? "every window" : encoder_->rule());
  return result;
}

}  // namespace

void register_task_perplexity(Plugins& plugins) {
  add_plugin<Perplexity, PerplexityParams>(
      plugins.tasks, "perplexity",
      "How well a language model predicts a text: WikiText-2 and others, in three definitions.",
      "Frantar et al. 2023, GPTQ; Hugging Face; lm-evaluation-harness 0.4.13");
}

}  // namespace quell
