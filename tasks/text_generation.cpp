#include <fmt/format.h>
#include <algorithm>
#include <mutex>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "framework/base/error.h"
#include "framework/plugin/registry.h"
#include "framework/quant/parallel.h"
#include "framework/task/task.h"
#include "tasks/data/batching.h"
#include "tasks/data/text_generation_params.h"

namespace quell {
namespace {

// What a decoder writes behind prompts. Calibration prompts are drawn as draw_without_replacement()
// says.
class TextGeneration final : public Task {
 public:
  TextGeneration(const TextGenerationParams& params, const TaskContext& context);

  std::vector<Batch> calibration(const CalibrationOptions& options, uint64_t seed) override;
  Evaluation evaluate(const Predictor& predictor,
                      const std::function<void(int64_t, int64_t)>& progress) override;
  std::vector<int64_t> calibration_indices() const override { return calibration_indices_; }
  std::vector<std::string> files() const override { return files_; }
  std::vector<std::string> notes() const override { return notes_; }
  Metrics score(const ScoreOptions& options) const override;

 private:
  SummaryData read(const std::filesystem::path& file);
  SummaryData read_split(const std::string& split);
  std::vector<TokenSequence> encode(const SummaryData& data, const std::vector<int64_t>& positions);
  // Behind the prompt, without special tokens.
  std::string text_of(const GeneratedSequence& written, int64_t prompt) const;
  Metrics metrics(const std::vector<std::string>& texts) const;

  TextGenerationParams params_;
  TaskContext context_;
  std::optional<TextEncoder> encoder_;
  GenerationOptions generation_;
  SummaryData data_;
  std::vector<Batch> batches_;
  std::vector<int64_t> calibration_indices_;
  std::vector<std::string> files_;
  std::vector<std::string> notes_;
};

TextGeneration::TextGeneration(const TextGenerationParams& params, const TaskContext& context)
    : params_(params), context_(context) {
  if (context_.model_config == nullptr) return;
  check_language_model(context_, "text_generation", "max_new_tokens", params_.max_new_tokens);
  if (!context_.generation) {
    throw ConfigError(
        "the model's settings for writing text are not ones that quell knows; the log says which");
  }
  encoder_.emplace(context_, params_.bos, params_.prefix_token);
  generation_ = params_.generation(*context_.generation);
  if (generation_.num_return_sequences > generation_.num_beams) {
    throw ConfigError(
        fmt::format("task.num_return_sequences {}: is more than num_beams {}; a search keeps no "
                    "more",
                    generation_.num_return_sequences, generation_.num_beams));
  }
  data_ = read_split("dev");
  std::vector<int64_t> all(data_.examples.size());
  std::iota(all.begin(), all.end(), int64_t{0});
  const auto sequences = encode(data_, all);
  batches_ = make_batches(sequences, longest_first(sequences), params_.batch_size);
}

SummaryData TextGeneration::read(const std::filesystem::path& file) {
  SummaryData data = read_summaries(file, params_.request());
  add_files(file, files_);
  for (const std::string& note : data.notes) add_note(note, notes_);
  return data;
}

SummaryData TextGeneration::read_split(const std::string& split) {
  const std::string& given = split == "train" ? params_.train_file : params_.dev_file;
  return read(find_data_file(params_.path, given, split, summary_file_names(split, "other")));
}

std::vector<TokenSequence> TextGeneration::encode(const SummaryData& data,
                                                  const std::vector<int64_t>& positions) {
  std::vector<TokenSequence> sequences;
  for (const int64_t position : positions) {
    const SummaryExample& example = data.examples[static_cast<size_t>(position)];
    TokenSequence sequence{encoder_->encode(example.article)};
    const int64_t length = std::ssize(sequence.ids);
    if (length == 0 || length + params_.max_new_tokens > context_.max_positions) {
      throw DataError(fmt::format(
          "{}: prompt {} has {} tokens; with max_new_tokens {} it needs at least 1 and at most {}",
          data.file.string(), example.index, length, params_.max_new_tokens,
          context_.max_positions - params_.max_new_tokens));
    }
    sequence.segment_ids.assign(sequence.ids.size(), 0);
    sequences.push_back(std::move(sequence));
  }
  return sequences;
}

std::vector<Batch> TextGeneration::calibration(const CalibrationOptions& options, uint64_t seed) {
  const SummaryData data = !options.file.empty()      ? read(options.file)
                           : options.split == "train" ? read_split("train")
                                                      : data_;
  const auto positions =
      draw_calibration(std::ssize(data.examples), data.file.string(), options, seed);
  auto batches = calibration_batches(encode(data, positions), options, params_.batch_size,
                                     context_.max_positions, context_.pad_id);
  calibration_indices_.clear();
  for (const int64_t position : positions) {
    calibration_indices_.push_back(data.examples[static_cast<size_t>(position)].index);
  }
  calibration_indices_.resize(static_cast<size_t>(batches.back().example_ids.back()) + 1);
  return batches;
}

std::string TextGeneration::text_of(const GeneratedSequence& written, int64_t prompt) const {
  const auto begin = written.ids.begin() + std::min(prompt, std::ssize(written.ids));
  return context_.tokenizer->decode({begin, written.ids.end()}, /*skip_special=*/true);
}

Evaluation TextGeneration::evaluate(const Predictor& predictor,
                                    const std::function<void(int64_t, int64_t)>& progress) {
  if (!predictor.generate) {
    throw ConfigError(
        "model.by_layer: writing text needs the whole model in memory; leave `by_layer` out");
  }
  const auto total = std::ssize(data_.examples);
  const int64_t wanted = generation_.num_return_sequences;
  std::vector<std::vector<std::string>> written_texts(data_.examples.size());
  std::vector<int64_t> tokens(data_.examples.size());
  int64_t finished = 0;
  std::mutex report;
  for_each_dynamically(std::ssize(batches_), [&](int64_t index) {
    const Batch& batch = batches_[static_cast<size_t>(index)];
    const auto written = predictor.generate(batch, generation_);
    QUELL_ASSERT(std::ssize(written) == batch.sequences() * wanted, "so many for each prompt");
    for (size_t i = 0; i < written.size(); ++i) {
      const int64_t sequence = static_cast<int64_t>(i) / wanted;
      const auto example = static_cast<size_t>(batch.example_ids[sequence]);
      const int64_t prompt = batch.length(sequence);
      if (written_texts[example].empty()) tokens[example] = std::ssize(written[i].ids) - prompt;
      written_texts[example].push_back(text_of(written[i], prompt));
    }
    const std::lock_guard<std::mutex> lock(report);
    finished += batch.sequences();
    if (progress) progress(finished, total);
  });
  std::vector<std::string> texts;
  for (const auto& found : written_texts) texts.push_back(found.front());
  Evaluation evaluation;
  evaluation.metrics = metrics(texts);
  const auto all = static_cast<double>(std::accumulate(tokens.begin(), tokens.end(), int64_t{0}));
  evaluation.metrics.emplace_back("gen_len", all / static_cast<double>(total));
  for (size_t i = 0; i < texts.size(); ++i) {
    const SummaryExample& example = data_.examples[i];
    std::vector<std::string> more(written_texts[i].begin() + 1, written_texts[i].end());
    evaluation.predictions.push_back(
        {"dev", example.index, std::nullopt, {}, example.id, std::move(texts[i]), std::move(more)});
  }
  return evaluation;
}

Metrics TextGeneration::metrics(const std::vector<std::string>& texts) const {
  if (params_.reference_column.empty()) return {};
  std::vector<std::string> references;
  for (const SummaryExample& example : data_.examples) references.push_back(example.summary);
  return summary_metrics(texts, references, {});
}

Metrics TextGeneration::score(const ScoreOptions& options) const {
  SummaryRequest request = params_.request();
  request.needs_articles = false;
  request.needs_summaries = true;
  request.keeps_incomplete = true;
  return score_summaries(read_summaries(options.data, request), options, {});
}

}  // namespace

void register_task_text_generation(Plugins& plugins) {
  add_plugin<TextGeneration, TextGenerationParams>(
      plugins.tasks, "text_generation",
      "What a decoder writes behind prompts, by greedy or beam search; ROUGE where there are texts "
      "to compare with.",
      "Hugging Face transformers 5, GenerationMixin; Lin 2004, ROUGE");
}

}  // namespace quell
