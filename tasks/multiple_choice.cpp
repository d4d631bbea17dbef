#include <fmt/format.h>
#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "framework/base/error.h"
#include "framework/plugin/registry.h"
#include "framework/task/task.h"
#include "framework/text/unicode.h"
#include "tasks/data/batching.h"
#include "tasks/data/choice_encoding.h"
#include "tasks/data/choice_items.h"
#include "tasks/data/choice_params.h"
#include "tasks/data/data_files.h"
#include "tasks/data/scored_sequences.h"
#include "tasks/data/text_encoder.h"

namespace quell {
namespace {

// Which continuation a language model finds likeliest. Calibration takes contexts with their right
// continuations, drawn as draw_without_replacement() says.
class MultipleChoice final : public Task {
 public:
  MultipleChoice(const ChoiceParams& params, const TaskContext& context);

  std::vector<Batch> calibration(const CalibrationOptions& options, uint64_t seed) override;
  Evaluation evaluate(const Predictor& predictor,
                      const std::function<void(int64_t, int64_t)>& progress) override;
  std::vector<int64_t> calibration_indices() const override { return calibration_indices_; }
  std::vector<std::string> files() const override { return files_; }
  std::vector<std::string> notes() const override { return notes_; }
  std::vector<std::pair<std::string, std::string>> protocol() const override;

 private:
  // Of the items with a label.
  struct Sums {
    double items = 0, right = 0, right_per_character = 0, right_per_byte = 0, likelihood = 0;
  };

  bool has_choices() const { return params_.name != "lambada"; }
  ChoiceData read(const std::filesystem::path& file, RowRanges rows);
  ChoiceData read_split(const std::string& split);
  ScoredSequence encode(const ChoiceItem& item, size_t choice, int64_t& cut) const;
  void add_to(Sums& sums, const ChoiceItem& item, const std::vector<double>& likelihoods,
              bool greedy) const;
  Metrics metrics(const Sums& sums) const;

  ChoiceParams params_;
  TaskContext context_;
  int64_t length_ = 0;
  std::optional<TextEncoder> encoder_;
  ChoiceData data_;
  std::vector<Batch> batches_;
  int64_t sequences_ = 0;
  std::vector<int64_t> sequence_of_;  // [choices of all items]
  std::vector<int64_t> calibration_indices_;
  std::vector<std::string> files_;
  std::vector<std::string> notes_;
};

MultipleChoice::MultipleChoice(const ChoiceParams& params, const TaskContext& context)
    : params_(params), context_(context) {
  if (context_.model_config == nullptr) return;
  check_language_model(context_, "multiple_choice", "max_length", params_.max_length);
  length_ = params_.max_length > 0 ? params_.max_length : usual_length(context_);
  encoder_.emplace(context_, params_.bos, params_.prefix_token);
  data_ = read_split("dev");
  std::vector<ScoredSequence> sequences;
  std::vector<int64_t> groups;
  int64_t cut = 0;
  for (const ChoiceItem& item : data_.items) {
    const auto first = std::ssize(sequences);
    for (size_t i = 0; i < item.continuations.size(); ++i) {
      ScoredSequence sequence = encode(item, i, cut);
      // Equal choices are scored once, so that neither is likelier by the rounding of sums.
      const auto known = std::find(sequences.begin() + first, sequences.end(), sequence);
      sequence_of_.push_back(known - sequences.begin());
      if (known == sequences.end()) sequences.push_back(std::move(sequence));
    }
    groups.push_back(std::ssize(sequences) - first);
  }
  if (cut > 0) {
    add_note(
        fmt::format("{}: {} of {} contexts lose their beginning, so that the model reads no more "
                    "than {} tokens",
                    data_.file.string(), cut, sequence_of_.size(), length_),
        notes_);
  }
  sequences_ = std::ssize(sequences);
  batches_ = scoring_batches(sequences, groups,
                             {params_.batch_size, params_.share_contexts, !has_choices()});
}

ChoiceData MultipleChoice::read(const std::filesystem::path& file, RowRanges rows) {
  ChoiceData data = read_choices(file, params_.request(std::move(rows)));
  add_files(file, files_);
  for (const std::string& note : data.notes) add_note(note, notes_);
  return data;
}

ChoiceData MultipleChoice::read_split(const std::string& split) {
  const bool train = split == "train";
  const auto& rows = train ? params_.train_rows : params_.dev_rows;
  return read(find_data_file(params_.path, train ? params_.train_file : params_.dev_file, split,
                             choice_file_names(split, params_.name)),
              RowRanges(rows, fmt::format("task.{}_rows", split)));
}

ScoredSequence MultipleChoice::encode(const ChoiceItem& item, size_t choice, int64_t& cut) const {
  EncodedPair pair = encode_pair(*encoder_, item.contexts[choice], item.continuations[choice],
                                 length_, fmt::format("{}, choice {}", item.place, choice));
  cut += pair.cut;
  return std::move(pair.sequence);
}

std::vector<Batch> MultipleChoice::calibration(const CalibrationOptions& options, uint64_t seed) {
  const ChoiceData data = !options.file.empty()      ? read(options.file, {})
                          : options.split == "train" ? read_split("train")
                                                     : data_;
  const auto positions =
      draw_calibration(std::ssize(data.items), data.file.string(), options, seed);
  std::vector<TokenSequence> sequences;
  calibration_indices_.clear();
  int64_t cut = 0;
  for (const int64_t position : positions) {
    const ChoiceItem& item = data.items[position];
    ScoredSequence sequence = encode(item, static_cast<size_t>(item.gold.value_or(0)), cut);
    if (std::ssize(sequence.ids) > length_) sequence.ids.pop_back();  // it is never read
    sequences.push_back({std::move(sequence.ids)});
    calibration_indices_.push_back(item.index);
  }
  auto batches =
      calibration_batches(sequences, options, params_.batch_size, length_, context_.pad_id);
  for (Batch& batch : batches) score_next_tokens(batch);
  calibration_indices_.resize(static_cast<size_t>(batches.back().example_ids.back()) + 1);
  return batches;
}

int64_t likeliest(const std::vector<double>& values) {
  return std::max_element(values.begin(), values.end()) - values.begin();
}

void MultipleChoice::add_to(Sums& sums, const ChoiceItem& item,
                            const std::vector<double>& likelihoods, bool greedy) const {
  if (!item.gold) return;
  ++sums.items;
  sums.likelihood += likelihoods[*item.gold];
  sums.right += has_choices() ? likeliest(likelihoods) == *item.gold : greedy;
  if (item.choices.empty()) return;
  std::vector<double> per_character, per_byte;
  for (size_t i = 0; i < likelihoods.size(); ++i) {
    const std::string& choice = item.choices[i];
    per_character.push_back(likelihoods[i] /
                            static_cast<double>(unicode::decode_utf8(choice).size()));
    per_byte.push_back(likelihoods[i] / static_cast<double>(choice.size()));
  }
  sums.right_per_character += likeliest(per_character) == *item.gold;
  sums.right_per_byte += likeliest(per_byte) == *item.gold;
}

Metrics MultipleChoice::metrics(const Sums& sums) const {
  if (sums.items == 0) return {};
  Metrics metrics = {{"acc", sums.right / sums.items}};
  if (!has_choices()) {
    metrics.emplace_back("perplexity", std::exp(-sums.likelihood / sums.items));
  } else if (!data_.items.front().choices.empty()) {
    metrics.emplace_back("acc_norm", sums.right_per_character / sums.items);
    metrics.emplace_back("acc_bytes", sums.right_per_byte / sums.items);
  }
  return metrics;
}

Evaluation MultipleChoice::evaluate(const Predictor& predictor,
                                    const std::function<void(int64_t, int64_t)>& progress) {
  int64_t finished = 0;
  size_t next = 0;
  const auto scores = score_sequences(batches_, sequences_, predictor, [&](int64_t sequences) {
    finished += sequences;
    if (progress) progress(finished, sequences_);
  });
  Evaluation evaluation;
  Sums sums;
  for (const ChoiceItem& item : data_.items) {
    Prediction prediction{"dev", item.index, item.gold, {}, item.id};
    std::vector<double> likelihoods;
    const bool greedy = scores[sequence_of_[next]].greedy;
    for (size_t i = 0; i < item.continuations.size(); ++i) {
      likelihoods.push_back(scores[sequence_of_[next++]].log_likelihood);
    }
    add_to(sums, item, likelihoods, greedy);
    if (!has_choices()) prediction.outputs["greedy"] = {greedy ? 1.0F : 0.0F};
    prediction.outputs["log_likelihood"].assign(likelihoods.begin(), likelihoods.end());
    prediction.hashes = item.hashes;
    evaluation.predictions.push_back(std::move(prediction));
  }
  evaluation.metrics = metrics(sums);
  return evaluation;
}

std::vector<std::pair<std::string, std::string>> MultipleChoice::protocol() const {
  std::vector<std::pair<std::string, std::string>> result = {{"harness", kHarness}};
  const std::string task = harness_task(params_.name);
  if (!task.empty()) result.emplace_back("task", task);
  result.emplace_back("max_length", std::to_string(length_));
  result.emplace_back("bos", encoder_->rule());
  return result;
}

}  // namespace

void register_task_multiple_choice(Plugins& plugins) {
  add_plugin<MultipleChoice, ChoiceParams>(
      plugins.tasks, "multiple_choice",
      "Which of several continuations a language model finds likeliest: PIQA, ARC, HellaSwag, "
      "WinoGrande, LAMBADA, or prompts of one's own.",
      "Gao et al. 2024, lm-evaluation-harness 0.4.13");
}

}  // namespace quell
