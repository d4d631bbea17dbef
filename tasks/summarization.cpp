#include <fmt/format.h>
#include <algorithm>
#include <filesystem>
#include <memory>
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
#include "tasks/data/data_files.h"
#include "tasks/data/model_fit.h"
#include "tasks/data/summarization_params.h"
#include "tasks/data/summary_data.h"
#include "tasks/data/summary_score.h"

namespace quell {
namespace {

// Summaries of articles, compared with references. Calibration articles are drawn as
// draw_without_replacement() says; their targets are what the float network writes.
class Summarization final : public Task {
 public:
  Summarization(const SummarizationParams& params, const TaskContext& context);

  std::vector<Batch> calibration(const CalibrationOptions& options, uint64_t seed) override;
  void complete_calibration(std::vector<Batch>& batches, const Predictor& predictor) override;
  Evaluation evaluate(const Predictor& predictor,
                      const std::function<void(int64_t, int64_t)>& progress) override;
  std::vector<int64_t> calibration_indices() const override { return calibration_indices_; }
  std::vector<std::string> files() const override { return files_; }
  std::vector<std::string> notes() const override { return notes_; }
  Metrics score(const ScoreOptions& options) const override;

 private:
  void check_model() const;
  void check_generation();
  SummaryData read(const std::filesystem::path& file, const SummaryRequest& request);
  SummaryData read_split(const std::string& split);
  std::vector<TokenSequence> encode(const SummaryData& data, const std::vector<int64_t>& positions);
  // So many for each sequence of the batch.
  std::vector<GeneratedSequence> write(const Predictor& predictor, const Batch& batch,
                                       int64_t wanted) const;

  SummarizationParams params_;
  TaskContext context_;
  GenerationOptions generation_;
  SummaryData data_;
  std::vector<Batch> batches_;
  bool keeps_padding_ = false;  // of calibration batches
  std::vector<int64_t> calibration_indices_;
  std::vector<std::string> files_;
  std::vector<std::string> notes_;
};

std::string without_outer_blanks(const std::string& text) {
  constexpr const char* kBlanks = " \t\r\n\f\v";
  const size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(kBlanks) + 1 - first);
}

Summarization::Summarization(const SummarizationParams& params, const TaskContext& context)
    : params_(params), context_(context) {
  if (context_.model_config == nullptr) return;
  check_model();
  generation_ = params_.generation(*context_.generation);
  notes_ = params_.overruled(*context_.generation);
  check_generation();
  data_ = read_split("dev");
  std::vector<int64_t> all(data_.examples.size());
  std::iota(all.begin(), all.end(), int64_t{0});
  const auto sequences = encode(data_, all);
  batches_ = make_batches(sequences, longest_first(sequences), params_.batch_size);
}

void Summarization::check_model() const {
  if (!context_.generation || context_.is_language_model) {
    throw ConfigError(
        "the model writes no text; task summarization needs an encoder-decoder such as BART with "
        "the head that its config.json calls ...ForConditionalGeneration");
  }
  check_model_fits(context_, "summarization", "max_source_length", params_.max_source_length);
}

void Summarization::check_generation() {
  if (generation_.max_length > context_.max_positions) {
    throw ConfigError(fmt::format(
        "task.max_length {}: the model writes at most {} tokens; set max_length to {} or less",
        generation_.max_length, context_.max_positions, context_.max_positions));
  }
  if (generation_.min_length > generation_.max_length) {
    add_note(fmt::format("min_length {} is more than max_length {}: no summary ends by itself",
                         generation_.min_length, generation_.max_length),
             notes_);
  }
  if (generation_.num_return_sequences > generation_.num_beams) {
    throw ConfigError(fmt::format(
        "task.num_return_sequences {}: is more than num_beams {}; a search keeps no more",
        generation_.num_return_sequences, generation_.num_beams));
  }
}

SummaryData Summarization::read(const std::filesystem::path& file, const SummaryRequest& request) {
  SummaryData data = read_summaries(file, request);
  add_files(file, files_);
  for (const std::string& note : data.notes) add_note(note, notes_);
  return data;
}

SummaryData Summarization::read_split(const std::string& split) {
  const std::string& given = split == "train" ? params_.train_file : params_.dev_file;
  return read(find_data_file(params_.path, given, split, summary_file_names(split, params_.name)),
              params_.request(split));
}

std::vector<TokenSequence> Summarization::encode(const SummaryData& data,
                                                 const std::vector<int64_t>& positions) {
  TokenizerOptions options;
  options.max_length = params_.max_source_length;
  options.overflow = true;  // tells whether something is cut
  std::vector<TokenSequence> sequences;
  int64_t cut = 0;
  for (const int64_t position : positions) {
    const std::string text = params_.source_prefix + data.examples[position].article;
    std::vector<Encoding> windows = context_.tokenizer->encode(text, std::nullopt, options);
    cut += windows.size() > 1;
    sequences.push_back({std::move(windows.front().ids), std::move(windows.front().type_ids)});
  }
  if (cut > 0) {
    add_note(fmt::format("{}: {} of {} articles are longer than max_source_length {} and are cut",
                         data.file.string(), cut, positions.size(), params_.max_source_length),
             notes_);
  }
  return sequences;
}

std::vector<Batch> Summarization::calibration(const CalibrationOptions& options, uint64_t seed) {
  SummaryRequest whole_file = params_.request("train");
  whole_file.rows = {};
  const SummaryData data = !options.file.empty()      ? read(options.file, whole_file)
                           : options.split == "train" ? read_split("train")
                                                      : data_;
  const auto positions =
      draw_calibration(std::ssize(data.examples), data.file.string(), options, seed);
  auto batches = calibration_batches(encode(data, positions), options, params_.batch_size,
                                     params_.max_source_length, context_.pad_id);
  keeps_padding_ = options.padding != Padding::kDrop;
  calibration_indices_.clear();
  for (const int64_t position : positions) {
    calibration_indices_.push_back(data.examples[position].index);
  }
  calibration_indices_.resize(static_cast<size_t>(batches.back().example_ids.back()) + 1);
  return batches;
}

std::vector<GeneratedSequence> Summarization::write(const Predictor& predictor, const Batch& batch,
                                                    int64_t wanted) const {
  QUELL_ASSERT(predictor.generate, "a network that writes text");
  GenerationOptions options = generation_;
  options.num_return_sequences = wanted;
  std::vector<GeneratedSequence> written = predictor.generate(batch, options);
  QUELL_ASSERT(std::ssize(written) == batch.sequences() * wanted, "so many for each article");
  return written;
}

void Summarization::complete_calibration(std::vector<Batch>& batches, const Predictor& predictor) {
  for_each_dynamically(std::ssize(batches), [&](int64_t index) {
    std::vector<TokenSequence> targets;
    size_t longest = 0;
    for (GeneratedSequence& sequence : write(predictor, batches[index], 1)) {
      longest = std::max(longest, sequence.ids.size());
      targets.push_back({std::move(sequence.ids)});
    }
    pack_decoder(batches[index], targets, keeps_padding_ ? static_cast<int64_t>(longest) : 0,
                 context_.pad_id);
  });
}

Evaluation Summarization::evaluate(const Predictor& predictor,
                                   const std::function<void(int64_t, int64_t)>& progress) {
  const auto total = std::ssize(data_.examples);
  const int64_t wanted = generation_.num_return_sequences;
  std::vector<std::vector<std::string>> written_texts(total);  // of each article
  std::vector<std::string> texts, references;
  int64_t finished = 0, tokens = 0;
  std::mutex report;
  for_each_dynamically(std::ssize(batches_), [&](int64_t index) {
    const Batch& batch = batches_[index];
    const auto written = write(predictor, batch, wanted);
    int64_t batch_tokens = 0;
    for (size_t i = 0; i < written.size(); ++i) {
      const auto article = static_cast<int64_t>(i) / wanted;
      auto& found = written_texts[batch.example_ids[article]];
      if (found.empty()) batch_tokens += std::ssize(written[i].ids);
      found.push_back(without_outer_blanks(context_.tokenizer->decode(written[i].ids, true)));
    }
    const std::lock_guard<std::mutex> lock(report);
    tokens += batch_tokens;
    finished += batch.sequences();
    if (progress) progress(finished, total);
  });
  for (const auto& found : written_texts) texts.push_back(found.front());
  for (const SummaryExample& example : data_.examples) references.push_back(example.summary);
  Evaluation evaluation;
  evaluation.metrics = summary_metrics(texts, references, params_.scoring());
  evaluation.metrics.emplace_back("gen_len",
                                  static_cast<double>(tokens) / static_cast<double>(total));
  for (size_t i = 0; i < texts.size(); ++i) {
    const SummaryExample& example = data_.examples[i];
    std::vector<std::string> more(written_texts[i].begin() + 1, written_texts[i].end());
    evaluation.predictions.push_back(
        {"dev", example.index, std::nullopt, {}, example.id, std::move(texts[i]), std::move(more)});
  }
  return evaluation;
}

Metrics Summarization::score(const ScoreOptions& options) const {
  SummaryRequest request = params_.request("dev");
  request.needs_articles = false;
  request.keeps_incomplete = true;
  return score_summaries(read_summaries(options.data, request), options, params_.scoring());
}

}  // namespace

void register_task_summarization(Plugins& plugins) {
  add_plugin<Summarization, SummarizationParams>(
      plugins.tasks, "summarization",
      "Summaries that an encoder-decoder writes, measured with "
      "ROUGE: CNN/DailyMail, XSum and like.",
      "Hermann et al. 2015; Narayan et al. 2018; Lin 2004, ROUGE");
}

}  // namespace quell
