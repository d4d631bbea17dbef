// Runs one experiment from its files to its results.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "framework/base/log.h"
#include "framework/io/checkpoint.h"
#include "framework/model/pipeline.h"
#include "framework/run/experiment.h"
#include "framework/run/model_size.h"
#include "framework/run/outlier_recorder.h"
#include "framework/run/result_cache.h"
#include "framework/run/site_errors.h"

namespace quell {

struct StageResult {
  Stage stage;
  Evaluation evaluation;
};

// Where a run keeps what may be of use to later ones; empty: nowhere.
struct RunFolders {
  std::filesystem::path progress;  // of this run, for its long steps to go on from after a stop
  std::filesystem::path cache;     // results that runs have in common, see ResultCache; only
                                   // together with `progress`
};

// How much a transform moved the float outputs of the calibration set.
struct TransformCheck {
  std::string name;
  double max_difference = 0;  // absolute
  double max_output = 0;      // largest absolute output before it
};

// An experiment with its model and data loaded: what `check` shows and `run` runs.
class Runner {
 public:
  // Declares the model and loads tokenizer, task and plan; weights are not read before the run.
  // Throws ConfigError or DataError.
  Runner(const ExperimentSpec& spec, const Plugins& plugins, Log& log);

  // All stages and steps. Throws Error when the run fails.
  void run(const RunFolders& folders = {});
  // Only looks at the outliers of the float network; for experiments with record.outliers.
  void run_outliers();

  // For analyses of their own: calibration and pipeline alone, and then evaluations with chosen
  // sites quantized and all others in float. Not together with run().
  void prepare();
  Evaluation evaluate(const std::vector<SiteId>& quantized);

  const ExperimentSpec& spec() const { return spec_; }
  const Model& model() const { return *model_; }
  Task& task() { return *task_; }
  const std::vector<SitePlan>& plan() const { return plan_; }
  const SitePoints& points() const { return *points_; }
  const Checkpoint& checkpoint() const { return checkpoint_; }

  // Filled by run().
  const std::vector<StageResult>& stages() const { return stages_; }
  const std::vector<TransformCheck>& transforms() const { return transforms_; }
  const std::vector<Record>& records() const { return records_; }
  const std::map<SiteId, SiteError>& site_errors() const { return site_errors_; }
  const std::map<SiteId, double>& weight_errors() const { return weight_errors_; }
  // Null unless the experiment records outliers.
  const OutlierRecorder* outliers() const { return outliers_.get(); }
  const std::vector<std::pair<std::string, double>>& seconds() const { return seconds_; }
  // Whether a step trained the model, so that its weights are not those of the checkpoint.
  bool trained() const { return trained_; }
  int64_t calibration_batches() const { return static_cast<int64_t>(calibration_.size()); }
  int64_t calibration_tokens() const;
  std::vector<int64_t> calibration_indices() const { return task_->calibration_indices(); }
  std::vector<std::string> task_files() const { return task_->files(); }

 private:
  // The model with these sites quantized.
  Network network(const SiteSet& quantized) const;
  bool wants(Stage stage) const;
  void load_weights(const std::filesystem::path& progress);
  PipelineContext pipeline_context();
  void check_steps() const;
  void evaluate(Stage stage, bool weights, bool activations);
  Evaluation evaluate_float();  // from the cache where it is there
  Evaluation evaluate_task(const char* name, const SiteSet& quantized);
  void read_calibration();
  void log_notes();  // those that are new
  void record_outliers(const std::string& stage);
  void run_pipeline(const std::filesystem::path& progress);
  void run_step(size_t index, const std::filesystem::path& progress, PipelineContext& context);
  // What a result follows from: settings, model, data, code.
  std::string origin(const std::string& settings);
  void run_transform(const StepChoice& step, PipelineContext& context);
  template <class Work>
  void timed(const std::string& name, const Work& work);

  const ExperimentSpec& spec_;
  Log& log_;
  Checkpoint checkpoint_;
  std::unique_ptr<Model> model_;
  std::optional<MatchedTensors> tensors_;  // absent where the folder has no weights
  std::unique_ptr<Residency> residency_;
  std::shared_ptr<Execution> execution_;  // null before the weights are there
  std::unique_ptr<Engine> engine_;        // of evaluations; null: LibTorch
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<Task> task_;
  std::vector<SitePlan> plan_;
  std::unique_ptr<SitePoints> points_;
  ResultCache cache_;
  std::string inputs_;  // see inputs_text(); empty until it is needed
  size_t notes_logged_ = 0;
  std::vector<Batch> calibration_;

  std::vector<StageResult> stages_;
  std::vector<TransformCheck> transforms_;
  std::vector<Record> records_;
  std::unique_ptr<OutlierRecorder> outliers_;
  bool trained_ = false;
  std::map<SiteId, SiteError> site_errors_;
  std::map<SiteId, double> weight_errors_;
  std::vector<std::pair<std::string, double>> seconds_;
};

// How many threads `threads: 0` means: the cores, or as many as QUELL_THREADS says where several
// runs share the machine.
int64_t all_threads();

}  // namespace quell
