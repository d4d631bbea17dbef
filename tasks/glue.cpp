#include <fmt/format.h>
#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "framework/base/error.h"
#include "framework/plugin/registry.h"
#include "framework/task/task.h"
#include "framework/train/loss.h"
#include "tasks/data/batching.h"
#include "tasks/data/data_files.h"
#include "tasks/data/glue_data.h"
#include "tasks/data/glue_files.h"
#include "tasks/data/glue_labels.h"
#include "tasks/data/glue_score.h"
#include "tasks/data/glue_spec.h"
#include "tasks/data/labelled_sequences.h"
#include "tasks/data/model_fit.h"

namespace quell {
namespace {

struct Params {
  std::string name;
  std::filesystem::path path;
  std::string train_file;
  std::string dev_file;
  std::string dev_mismatched_file;
  int64_t max_length = 128;
  int64_t batch_size = 32;
  bool sort_by_length = true;
  bool trim = false;
  bool clamp_scores = false;
  std::string encoding = "utf-8";

  template <class V>
  static void describe(V& v) {
    v("name", &Params::name, "which task of GLUE", required(),
      one_of({"cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"}));
    v("path", &Params::path,
      "folder with train and dev files: .tsv, .jsonl, .csv, .parquet, also in shards",
      existing_folder());
    v("train_file", &Params::train_file, "training file, in the folder or elsewhere");
    v("dev_file", &Params::dev_file, "evaluation file (mnli: matched)");
    v("dev_mismatched_file", &Params::dev_mismatched_file, "second evaluation file of mnli");
    v("max_length", &Params::max_length, "longer texts are cut to so many tokens", at_least(4));
    v("batch_size", &Params::batch_size, "sequences per batch", at_least(1));
    v("sort_by_length", &Params::sort_by_length,
      "evaluate in batches of like lengths, which is faster; results keep the order of the file");
    v("trim", &Params::trim,
      "take blanks off both ends of texts: those of SST-2 end in one, which byte-level tokenizers "
      "see");
    v("clamp_scores", &Params::clamp_scores,
      "stsb: predicted scores are cut to [0, 5], as BERT does in Qualcomm's code");
    v("encoding", &Params::encoding, "of text files: utf-8, latin-1, windows-1252, utf-16, ...");
  }

  static void check(const Params& params, Report& report) {
    check_encoding(params.encoding, report);
    if (params.clamp_scores && params.name != "stsb") {
      report.problem("clamp_scores", "is for stsb, whose labels are scores; leave it out");
    }
  }
};

// The tasks of GLUE (Wang et al. 2019). Calibration sentences are drawn as
// draw_without_replacement() says and batched in the order drawn.
class Glue final : public Task {
 public:
  Glue(const Params& params, const TaskContext& context);

  std::vector<Batch> calibration(const CalibrationOptions& options, uint64_t seed) override;
  Evaluation evaluate(const Predictor& predictor,
                      const std::function<void(int64_t, int64_t)>& progress) override;
  TrainingData* training() override { return &training_; }
  std::vector<int64_t> calibration_indices() const override { return calibration_indices_; }
  std::vector<std::string> files() const override { return files_; }
  std::vector<std::string> notes() const override { return notes_; }
  Metrics score(const ScoreOptions& options) const override {
    return score_glue(spec_, options, params_.encoding);
  }

 private:
  struct EvaluationSet {
    std::string name;
    GlueData data;
    std::vector<Batch> batches;
  };

  GlueData read(const std::filesystem::path& file, bool needs_labels);
  GlueData calibration_data(const CalibrationOptions& options);
  LabelledSequences read_training();
  TokenSequence encode(const GlueExample& example) const;
  EvaluationSet load_set(const GlueSet& set);
  void evaluate_set(const EvaluationSet& set, const Predictor& predictor,
                    const std::function<void(int64_t)>& done, Evaluation& evaluation) const;
  double model_label(double label) const;

  Params params_;
  GlueSpec spec_;
  GlueLocation location_;
  TaskContext context_;
  LabelOrder order_;
  std::vector<EvaluationSet> sets_;
  std::vector<int64_t> calibration_indices_;
  std::vector<std::string> files_;
  std::vector<std::string> notes_;
  SequenceTrainingData training_;
};

std::string_view trimmed(std::string_view text) {
  constexpr const char* kBlanks = " \t\r\n\f\v";
  const size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) + 1 - first);
}

Glue::Glue(const Params& params, const TaskContext& context)
    : params_(params),
      spec_(glue_spec(params.name)),
      location_{params.path, params.train_file, params.dev_file, params.dev_mismatched_file},
      context_(context),
      training_([this] { return read_training(); }, params.batch_size) {
  if (context_.model_config == nullptr) return;
  params_.max_length = capped_length(context_, "max_length", params_.max_length, notes_);
  check_model_fits(context_, "glue", "max_length", params_.max_length);
  order_ = label_order(spec_, *context_.model_config);
  for (const GlueSet& set : find_dev_files(spec_, location_)) sets_.push_back(load_set(set));
}

GlueData Glue::read(const std::filesystem::path& file, bool needs_labels) {
  GlueData data = read_glue(spec_, file, needs_labels, params_.encoding);
  if (std::find(files_.begin(), files_.end(), file.string()) != files_.end()) return data;
  add_files(file, files_);
  if (data.malformed_rows > 0) {
    notes_.push_back(
        fmt::format("{}: left out {} rows with a wrong number of fields, first line {}",
                    file.string(), data.malformed_rows, data.first_malformed_line));
  }
  const auto unlabelled = static_cast<int64_t>(data.examples.size()) - data.labelled;
  if (needs_labels && unlabelled > 0) {
    notes_.push_back(fmt::format("{}: {} examples without a label do not count in the metrics",
                                 file.string(), unlabelled));
  }
  return data;
}

GlueData Glue::calibration_data(const CalibrationOptions& options) {
  if (options.file.empty() && options.split != "train") return sets_.front().data;
  const auto file = options.file.empty() ? find_train_file(spec_, location_) : options.file;
  return read(file, /*needs_labels=*/false);
}

LabelledSequences Glue::read_training() {
  LabelledSequences result;
  result.scores = spec_.is_regression();
  const GlueData data = read(find_train_file(spec_, location_), /*needs_labels=*/true);
  for (const GlueExample& example : data.examples) {
    if (!example.label) continue;
    result.sequences.push_back(encode(example));
    result.labels.push_back(model_label(*example.label));
  }
  return result;
}

TokenSequence Glue::encode(const GlueExample& example) const {
  TokenizerOptions options;
  options.max_length = params_.max_length;
  const auto text = [&](std::string_view whole) { return params_.trim ? trimmed(whole) : whole; };
  const auto pair = example.pair ? std::optional(text(*example.pair)) : std::nullopt;
  Encoding window = context_.tokenizer->encode(text(example.text), pair, options).front();
  return {std::move(window.ids), std::move(window.type_ids)};
}

double Glue::model_label(double label) const {
  if (spec_.is_regression()) return label;
  return static_cast<double>(model_class(order_, static_cast<int64_t>(label)));
}

std::vector<Batch> Glue::calibration(const CalibrationOptions& options, uint64_t seed) {
  const GlueData data = calibration_data(options);
  calibration_indices_.clear();
  std::vector<TokenSequence> sequences;
  std::vector<double> labels;
  for (int64_t position :
       draw_calibration(std::ssize(data.examples), data.file.string(), options, seed)) {
    const GlueExample& example = data.examples[position];
    calibration_indices_.push_back(example.index);
    sequences.push_back(encode(example));
    if (example.label) labels.push_back(model_label(*example.label));
  }
  auto batches = calibration_batches(sequences, options, params_.batch_size, params_.max_length,
                                     context_.pad_id);
  for (Batch& batch : batches) {
    if (labels.size() != sequences.size()) break;
    const auto first = static_cast<size_t>(batch.example_ids.front());
    set_labels(batch, std::span(labels).subspan(first, batch.example_ids.size()),
               spec_.is_regression());
  }
  calibration_indices_.resize(static_cast<size_t>(batches.back().example_ids.back()) + 1);
  return batches;
}

Glue::EvaluationSet Glue::load_set(const GlueSet& set) {
  EvaluationSet result{set.name, read(set.file, /*needs_labels=*/true), {}};
  std::vector<TokenSequence> sequences;
  for (const GlueExample& example : result.data.examples) sequences.push_back(encode(example));
  result.batches = make_batches(
      sequences, params_.sort_by_length ? longest_first(sequences) : in_order(sequences),
      params_.batch_size);
  return result;
}

void Glue::evaluate_set(const EvaluationSet& set, const Predictor& predictor,
                        const std::function<void(int64_t)>& done, Evaluation& evaluation) const {
  const auto& examples = set.data.examples;
  auto outputs =
      collect_outputs(set.batches, static_cast<int64_t>(examples.size()), predictor, done);
  std::vector<double> predictions;
  for (size_t i = 0; i < examples.size(); ++i) {
    std::vector<float>& logits = outputs[i]["logits"];
    if (static_cast<int64_t>(logits.size()) != spec_.labels()) {
      throw Error(fmt::format("the model gave {} logits per sequence, {} needs {}", logits.size(),
                              spec_.name, spec_.labels()));
    }
    if (params_.clamp_scores) {
      logits[0] = std::clamp(logits[0], kLowestScore, kHighestScore);
    }
    predictions.push_back(glue_prediction(spec_, order_, logits));
    const auto label =
        examples[i].label ? std::optional(model_label(*examples[i].label)) : std::nullopt;
    evaluation.predictions.push_back({set.name, examples[i].index, label, std::move(outputs[i])});
  }
  const Metrics metrics = glue_metrics(spec_, set.name, examples, predictions);
  evaluation.metrics.insert(evaluation.metrics.end(), metrics.begin(), metrics.end());
}

Evaluation Glue::evaluate(const Predictor& predictor,
                          const std::function<void(int64_t, int64_t)>& progress) {
  int64_t total = 0;
  for (const EvaluationSet& set : sets_) total += static_cast<int64_t>(set.data.examples.size());
  int64_t finished = 0;
  const auto done = [&](int64_t sequences) {
    finished += sequences;
    if (progress) progress(finished, total);
  };
  Evaluation evaluation;
  for (const EvaluationSet& set : sets_) evaluate_set(set, predictor, done, evaluation);
  return evaluation;
}

}  // namespace

void register_task_glue(Plugins& plugins) {
  add_plugin<Glue, Params>(plugins.tasks, "glue",
                           "Sentence and sentence pair classification of GLUE; STS-B regression.",
                           "Wang et al. 2019, GLUE");
}

}  // namespace quell
