#include <fmt/format.h>
#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "framework/base/error.h"
#include "framework/plugin/registry.h"
#include "framework/task/task.h"
#include "framework/text/unicode.h"
#include "tasks/data/batching.h"
#include "tasks/data/data_files.h"
#include "tasks/data/model_fit.h"
#include "tasks/data/squad_answers.h"
#include "tasks/data/squad_data.h"
#include "tasks/data/squad_features.h"
#include "tasks/data/squad_logits.h"
#include "tasks/data/squad_metrics.h"
#include "tasks/data/squad_nbest.h"
#include "tasks/data/squad_score.h"
#include "tasks/data/squad_training.h"

namespace quell {
namespace {

struct Params {
  std::filesystem::path path;
  std::string train_file;
  std::string dev_file;
  std::vector<std::string> train_articles;
  std::vector<std::string> dev_articles;
  bool version_2 = false;
  int64_t max_length = 384;
  int64_t doc_stride = 128;
  int64_t batch_size = 32;
  int64_t n_best_size = 20;
  int64_t max_answer_length = 30;
  double null_score_diff_threshold = 0;
  bool nbest = false;
  std::string nbest_file;
  std::string encoding = "utf-8";

  template <class V>
  static void describe(V& v) {
    v("path", &Params::path,
      "folder with train and dev files: .json, .jsonl, .parquet, also in shards",
      existing_folder());
    v("train_file", &Params::train_file, "training file, in the folder or elsewhere");
    v("dev_file", &Params::dev_file, "evaluation file");
    v("train_articles", &Params::train_articles,
      "train on these articles of the file only, counted from 0: 0-35; empty: all", or_single());
    v("dev_articles", &Params::dev_articles, "the same for evaluation", or_single());
    v("version_2", &Params::version_2,
      "SQuAD v2.0: some questions have no answer, and the model may say so");
    v("max_length", &Params::max_length,
      "tokens of question and context; longer contexts become several windows", at_least(8));
    v("doc_stride", &Params::doc_stride, "tokens that neighbouring windows share", at_least(0));
    v("batch_size", &Params::batch_size, "windows per batch", at_least(1));
    v("n_best_size", &Params::n_best_size, "starts and ends of a window that are combined",
      at_least(1));
    v("max_answer_length", &Params::max_answer_length, "in tokens", at_least(1));
    v("null_score_diff_threshold", &Params::null_score_diff_threshold,
      "of version_2: no answer where its score is larger than that of the best answer by more");
    v("nbest", &Params::nbest,
      "of a run: list the best answers to each question in predictions.jsonl");
    v("nbest_file", &Params::nbest_file,
      "of `score` with logits: write the best answers there, as nbest_predictions.json of the "
      "published script");
    v("encoding", &Params::encoding, "of text files: utf-8, latin-1, windows-1252, utf-16, ...");
  }

  static void check(const Params& params, Report& report) {
    check_encoding(params.encoding, report);
    if (params.doc_stride < params.max_length) return;
    report.problem("doc_stride",
                   fmt::format("windows of max_length {} cannot share {} tokens; here, as in "
                               "Hugging Face, doc_stride is the overlap, not the step: lower it",
                               params.max_length, params.doc_stride));
  }

  SquadAnswerOptions answers() const {
    return {version_2 ? SquadVersion::kV2 : SquadVersion::kV1, n_best_size, max_answer_length,
            null_score_diff_threshold};
  }
};

// Extractive question answering. Calibration draws questions, as draw_without_replacement() says;
// all windows of a question follow one another.
class Squad final : public Task {
 public:
  Squad(const Params& params, const TaskContext& context);

  std::vector<Batch> calibration(const CalibrationOptions& options, uint64_t seed) override;
  Evaluation evaluate(const Predictor& predictor,
                      const std::function<void(int64_t, int64_t)>& progress) override;
  TrainingData* training() override { return &training_; }
  std::vector<int64_t> calibration_indices() const override { return calibration_indices_; }
  std::vector<std::string> files() const override { return files_; }
  std::vector<std::string> notes() const override { return notes_; }
  Metrics score(const ScoreOptions& options) const override;

 private:
  SquadData read(const std::filesystem::path& file, const std::string& split);
  SquadData read_split(const std::string& split);
  std::vector<SquadFeature> read_training();
  std::vector<SquadFeature> features_of(const std::vector<SquadExample>& examples) const;

  Params params_;
  TaskContext context_;
  SquadData data_;
  std::vector<SquadFeature> features_;
  std::vector<Batch> batches_;
  std::vector<int64_t> calibration_indices_;
  std::vector<std::string> files_;
  std::vector<std::string> notes_;
  SquadTrainingData training_;
};

Squad::Squad(const Params& params, const TaskContext& context)
    : params_(params),
      context_(context),
      training_([this] { return read_training(); }, params.batch_size) {
  if (context_.model_config == nullptr) return;
  params_.max_length = capped_length(context_, "max_length", params_.max_length, notes_);
  check_model_fits(context_, "squad", "max_length", params_.max_length);
  data_ = read_split("dev");
  features_ = features_of(data_.examples);
  const auto sequences = sequences_of(features_);
  batches_ = make_batches(sequences, longest_first(sequences), params_.batch_size);
}

SquadData Squad::read(const std::filesystem::path& file, const std::string& split) {
  SquadData data = read_squad(file, params_.encoding);
  keep_articles(data, split == "train" ? params_.train_articles : params_.dev_articles,
                fmt::format("task.{}_articles", split));
  add_files(file, files_);
  for (const std::string& note : squad_notes(data, params_.version_2)) {
    add_note(note, notes_);
  }
  return data;
}

SquadData Squad::read_split(const std::string& split) {
  const std::string& given = split == "train" ? params_.train_file : params_.dev_file;
  return read(
      find_data_file(params_.path, given, split, squad_file_names(split, params_.version_2)),
      split);
}

std::vector<SquadFeature> Squad::features_of(const std::vector<SquadExample>& examples) const {
  return squad_features(*context_.tokenizer, examples, {params_.max_length, params_.doc_stride});
}

std::vector<SquadFeature> Squad::read_training() {
  SquadData data = read_split("train");
  const std::string note = drop_misplaced(data);
  if (!note.empty()) notes_.push_back(note);
  if (const int64_t shared = count_shared(data, data_); shared > 0) {
    notes_.push_back(
        fmt::format("{} questions are trained on and evaluated, too: the metrics say little; "
                    "choose others with train_articles and dev_articles",
                    shared));
  }
  return features_of(data.examples);
}

std::vector<Batch> Squad::calibration(const CalibrationOptions& options, uint64_t seed) {
  const SquadData data = !options.file.empty()      ? read_squad(options.file, params_.encoding)
                         : options.split == "train" ? read_split("train")
                                                    : data_;
  std::vector<SquadExample> drawn;
  for (const int64_t position :
       draw_calibration(std::ssize(data.examples), data.file.string(), options, seed)) {
    drawn.push_back(data.examples[position]);
  }
  const std::vector<SquadFeature> features = features_of(drawn);
  auto batches = calibration_batches(sequences_of(features), options, params_.batch_size,
                                     params_.max_length, context_.pad_id);
  for (Batch& batch : batches) set_answer_positions(batch, features);
  calibration_indices_.clear();
  const int64_t last = features[batches.back().example_ids.back()].example;
  for (int64_t i = 0; i <= last; ++i) calibration_indices_.push_back(drawn[i].index);
  return batches;
}

Evaluation Squad::evaluate(const Predictor& predictor,
                           const std::function<void(int64_t, int64_t)>& progress) {
  const int64_t total = std::ssize(features_);
  int64_t finished = 0;
  auto outputs = collect_outputs(batches_, total, predictor, [&](int64_t windows) {
    finished += windows;
    if (progress) progress(finished, total);
  });
  if (!outputs.front().contains("start_logits")) {
    throw ConfigError(
        "the model does not answer questions: its outputs have no \"start_logits\"; take a "
        "checkpoint \"...ForQuestionAnswering\", or give it a new head to train with "
        "`model: {head: question_answering}`");
  }
  Evaluation evaluation;
  std::vector<GivenAnswer> answers;
  for (size_t example = 0, feature = 0; example < data_.examples.size(); ++example) {
    std::vector<WindowScores> windows;
    for (; feature < features_.size() && features_[feature].example == std::ssize(answers);
         ++feature) {
      windows.push_back({outputs[feature]["start_logits"], outputs[feature]["end_logits"],
                         features_[feature].offsets});
    }
    const SquadExample& question = data_.examples[example];
    const SquadAnswer answer =
        find_answer(unicode::decode_utf8(question.context), windows, params_.answers());
    answers.push_back(given_answer(answer));
    Prediction prediction{"dev", question.index, std::nullopt, {}, question.id, answer.text};
    if (params_.version_2) prediction.outputs["null_score_diff"] = {answer.null_score_diff};
    if (params_.nbest) prediction.nbest = ranked_texts(answer);
    evaluation.predictions.push_back(std::move(prediction));
  }
  evaluation.metrics = squad_metrics(data_.examples, answers, params_.answers().version);
  return evaluation;
}

Metrics Squad::score(const ScoreOptions& options) const {
  SquadData data = read_squad(options.data, params_.encoding);
  keep_articles(data, params_.dev_articles, "task.dev_articles");
  const Metrics metrics = score_squad(data, params_.answers(), options, params_.nbest_file);
  if (!metrics.empty()) return metrics;
  throw DataError(
      fmt::format("{}: no question has an answer, so that there is nothing to score; "
                  "SQuAD v2.0 needs --set version_2=true",
                  data.file.string()));
}

}  // namespace

void register_task_squad(Plugins& plugins) {
  add_plugin<Squad, Params>(plugins.tasks, "squad",
                            "Extractive question answering of SQuAD v1.1 and v2.0.",
                            "Rajpurkar et al. 2016, 2018; post-processing of utils_qa.py");
}

}  // namespace quell
