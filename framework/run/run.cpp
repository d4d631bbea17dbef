#include "framework/run/run.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>

#include "framework/base/error.h"
#include "framework/base/free_memory.h"
#include "framework/config/node.h"
#include "framework/model/gather.h"
#include "framework/model/generate.h"
#include "framework/model/make_step.h"
#include "framework/quant/device.h"
#include "framework/quant/stored_state.h"
#include "framework/run/held_model.h"
#include "framework/run/model_size.h"
#include "framework/run/origin.h"
#include "framework/run/result_cache.h"
#include "framework/run/site_errors.h"
#include "framework/run/timed.h"
#include "framework/run/transform_check.h"

namespace quell {
namespace {

// The part of the cache that belongs to the network in front of a step.
class StepStore final : public TensorStore {
 public:
  StepStore(const ResultCache& cache, std::string origin)
      : cache_(cache), origin_(std::move(origin)) {}
  std::optional<NamedTensors> find(const std::string& what) const override {
    return cache_.tensors(origin_ + what);
  }
  void keep(const std::string& what, const NamedTensors& tensors) const override {
    cache_.keep(origin_ + what, tensors);
  }

 private:
  const ResultCache& cache_;
  std::string origin_;
};

// The decoder of a model that writes text has lengths of its own, which a site does not know.
void hide_padding(std::span<Batch> batches) {
  for (Batch& batch : batches) {
    if (batch.decoder_token_ids.defined()) {
      throw ConfigError(
          "calibration.padding: unobserved is not for models that write text; use drop or keep");
    }
    batch.padding_unobserved = true;
  }
}

// The first batches, without the padding that observers do not see: it is not reported either.
std::vector<Batch> recorded_batches(std::span<const Batch> all, int64_t most) {
  std::vector<Batch> batches;
  for (const Batch& batch : all) {
    if (std::ssize(batches) == most) break;
    batches.push_back(batch.padding_unobserved ? drop_padding(batch) : batch);
  }
  return batches;
}

// A run under way, and what it found so far.
class Run {
 public:
  Run(Bench bench, Log& log, const RunFolders& folders);

  // `evaluated_only`: nothing but run_stages() comes after it.
  void load_weights(bool evaluated_only = false);
  void read_calibration();
  void run_stages();
  void run_pipeline();
  void record_outliers(const std::string& stage);
  void record_hidden_states();
  Evaluation evaluate(const std::vector<SiteId>& quantized);
  void hash_model() { record_.model_fingerprint = bench_.checkpoint->fingerprint(); }
  RunRecord finish();
  const Bench& bench() const { return bench_; }
  const SitePoints& points() const { return points_; }

 private:
  // The model with these sites quantized; `progress` of its evaluation, and what it is called.
  Predictor predictor(const SiteSet& quantized, const std::string& name = "",
                      const StepProgress* progress = nullptr);
  bool wants(Stage stage) const;
  PipelineContext pipeline_context();
  void evaluate(Stage stage, bool weights, bool activations);
  Evaluation evaluate_float();  // from the cache where it is there
  Evaluation evaluate_task(const std::string& name, const SiteSet& quantized,
                           const StepProgress* progress = nullptr);
  // The same, where it takes long, of which a stopped run may have done all or a part.
  Evaluation evaluate_stage(Stage stage, const SiteSet& quantized);
  void measure_errors();
  void run_step(size_t index, PipelineContext& context);
  // A step that rewrites the model.
  void run_transform(Step& step, const std::string& name, PipelineContext& context);
  // What a result follows from: settings, model, data, code.
  std::string origin(const std::string& settings);
  template <class Work>
  void time(const std::string& part, const Work& work) {
    record_.times.push_back(timed(part, work));
  }

  Bench bench_;
  const ExperimentSpec& spec_;
  Log& log_;
  RunFolders folders_;
  ResultCache cache_;
  SitePoints points_;
  HeldModel held_;      // empty before the weights are there
  std::string inputs_;  // see inputs_text(); empty until it is needed
  std::vector<Batch> calibration_;
  std::optional<OutlierRecorder> outliers_;
  bool trained_ = false;
  RunRecord record_;
};

Run::Run(Bench bench, Log& log, const RunFolders& folders)
    : bench_(std::move(bench)),
      spec_(bench_.spec),
      log_(log),
      folders_(folders),
      cache_(folders.cache),
      points_(bench_.model->sites()) {
  record_.times.push_back(bench_.loading);
  apply_plan(bench_.plan, points_);
  if (spec_.record.outliers) outliers_.emplace(*spec_.record.outliers, bench_.model->sites());
}

Predictor Run::predictor(const SiteSet& quantized, const std::string& name,
                         const StepProgress* progress) {
  const Model& model = *bench_.model;
  const auto pass = std::make_shared<const Pass>(
      points_, PassOptions{.quantize = quantized, .engine = bench_.engine.get()});
  Predictor predictor{[&model, pass](const Batch& batch) { return model.forward(batch, *pass); }};
  const auto calls = std::make_shared<int>(0);
  predictor.predict_all = [=, this](std::span<const Batch> batches, const OutputSink& sink) {
    CountRuns count;  // of segments, of which a task knows nothing
    if (held_.residency) {
      count = [&](int64_t done, int64_t total) { log_.progress(name + ", by layer", done, total); };
    }
    held_.execution->run(batches, [&](size_t) { return pass; }, BatchOrder::kAtOnce, sink, count,
                         {.progress = progress, .pass = fmt::format("batches-{}", (*calls)++)});
  };
  if (!model.writes_text() || held_.residency) return predictor;
  predictor.generate = [&model, pass](const Batch& batch, const GenerationOptions& options) {
    return generate(model, batch, options, *pass);
  };
  return predictor;
}

void Run::load_weights(bool evaluated_only) {
  time("load", [&] { held_ = hold_model(bench_, points_, evaluated_only, folders_.progress); });
}

PipelineContext Run::pipeline_context() {
  PipelineContext context{*bench_.model, points_,         calibration_,
                          log_,          held_.execution, held_.rewrites};
  context.training = bench_.task->training();
  context.seed = spec_.seed;
  return context;
}

bool Run::wants(Stage stage) const {
  return std::find(spec_.stages.begin(), spec_.stages.end(), stage) != spec_.stages.end();
}

void Run::run_stages() {
  // Before anything takes time: a missing training split should be known at once.
  if (!spec_.pipeline.empty() || outliers_) read_calibration();
  if (wants(Stage::kFloat)) evaluate(Stage::kFloat, false, false);
  record_outliers(to_string(Stage::kFloat));
  return_free_memory();  // training data is large, and little of it is read
  run_pipeline();
  return_free_memory();
  if (spec_.pipeline.empty()) return;
  PipelineContext context = pipeline_context();
  record_.weight_errors = weight_errors(context);  // before engines hold weights, too
  return_free_memory();
  if (wants(Stage::kTransformed)) evaluate(Stage::kTransformed, false, false);
  if (wants(Stage::kWeightsOnly)) evaluate(Stage::kWeightsOnly, true, false);
  if (wants(Stage::kActivationsOnly)) evaluate(Stage::kActivationsOnly, false, true);
  if (wants(Stage::kQuantized)) {
    evaluate(Stage::kQuantized, true, true);
    record_outliers(to_string(Stage::kQuantized));
  }
  measure_errors();
}

void Run::measure_errors() {
  if (!spec_.record.site_errors) return;
  PipelineContext context = pipeline_context();
  const std::vector<Batch> batches =
      recorded_batches(calibration_, spec_.record.site_error_batches);
  time("site_errors", [&] {
    SiteErrors errors = site_errors(context, batches);
    record_.site_errors = std::move(errors.activations);
    record_.linear_errors = std::move(errors.linears);
  });
}

void Run::record_outliers(const std::string& stage) {
  if (!outliers_) return;
  const std::vector<Batch> batches = recorded_batches(calibration_, std::ssize(calibration_));
  if (outliers_->found().stages.empty()) {
    outliers_->set_tokens(batches, bench_.tokenizer.get());
  }
  const bool quantized = stage == to_string(Stage::kQuantized);
  time("outliers", [&] {
    outliers_->record(stage, *bench_.model, points_, points_.calibrated(quantized, quantized),
                      batches, log_);
  });
}

void Run::record_hidden_states() {
  const std::vector<Batch> batches = recorded_batches(calibration_, std::ssize(calibration_));
  time("hidden_states",
       [&] { record_.hidden_states = hidden_states(*bench_.model, batches, log_); });
}

Evaluation Run::evaluate_task(const std::string& name, const SiteSet& quantized,
                              const StepProgress* progress) {
  return bench_.task->evaluate(
      predictor(quantized, name, progress),
      [&](int64_t done, int64_t total) { log_.progress(name, done, total); });
}

Evaluation Run::evaluate_stage(Stage stage, const SiteSet& quantized) {
  const std::string name = to_string(stage);
  if (!held_.residency || folders_.progress.empty()) return evaluate_task(name, quantized);
  const std::string settings = to_yaml(to_node(spec_));
  const ResultCache finished(folders_.progress / "stages");
  if (auto known = finished.evaluation(name + settings)) return std::move(*known);
  const StepProgress progress(folders_.progress / (name + ".safetensors"), settings);
  Evaluation evaluation = evaluate_task(name, quantized, &progress);
  finished.keep(name + settings, evaluation);
  std::filesystem::remove_all(progress.folder());
  return evaluation;
}

Evaluation Run::evaluate_float() {
  if (!cache_.enabled()) return evaluate_stage(Stage::kFloat, {});
  const std::string settings = origin(float_settings(spec_));
  if (auto known = cache_.evaluation(settings)) return std::move(*known);
  Evaluation evaluation = evaluate_stage(Stage::kFloat, {});
  cache_.keep(settings, evaluation);
  return evaluation;
}

void Run::evaluate(Stage stage, bool weights, bool activations) {
  Evaluation evaluation;
  time(to_string(stage), [&] {
    evaluation = stage == Stage::kFloat
                     ? evaluate_float()
                     : evaluate_stage(stage, points_.calibrated(weights, activations));
  });
  std::string line = fmt::format("{:<16}", to_string(stage));
  for (const auto& [name, value] : evaluation.metrics)
    line += fmt::format("  {} {:.4f}", name, value);
  log_.info(line + fmt::format("  ({:.1f} s)", record_.times.back().seconds));
  if (weights && activations) {
    for (const std::string& note : bench_.engine->notes()) log_.info(note);
  }
  record_.stages.push_back({to_string(stage), std::move(evaluation)});
}

Evaluation Run::evaluate(const std::vector<SiteId>& quantized) {
  SiteSet sites;
  for (const SiteId id : quantized) {
    const SitePoint* point = points_.point(id);
    QUELL_ASSERT(point != nullptr && point->calibrated, "a site without parameters");
    sites.insert(id);
  }
  return evaluate_task("evaluation", sites);
}

void Run::read_calibration() {
  calibration_ = bench_.task->calibration(spec_.calibration, spec_.seed);
  log_notes(bench_, log_);
  Predictor predictor = this->predictor({});
  if (cache_.enabled() && predictor.generate) {
    predictor.generate = cache_.cached(origin(float_settings(spec_)), predictor.generate);
  }
  bench_.task->complete_calibration(calibration_, predictor);
  if (spec_.calibration.padding == Padding::kUnobserved) hide_padding(calibration_);
}

std::string Run::origin(const std::string& settings) {
  if (inputs_.empty()) {
    FileHashes hashes;
    inputs_ = inputs_text(spec_, bench_.checkpoint->fingerprint(),
                          input_files(*bench_.checkpoint, bench_.task->files()), hashes);
  }
  return inputs_ + settings;
}

void Run::run_pipeline() {
  PipelineContext context = pipeline_context();
  for (size_t index = 0; index < spec_.pipeline.size(); ++index) run_step(index, context);
  record_.records = std::move(context.records);
  trained_ = context.trained;
}

void Run::run_step(size_t index, PipelineContext& context) {
  const StepChoice& step = spec_.pipeline[index];
  const std::string settings = step_settings(spec_, index);
  const bool keeps_progress = !folders_.progress.empty();
  std::filesystem::path file;
  if (keeps_progress) {
    file = folders_.progress / fmt::format("{}-{}.safetensors", index, step.name());
  }
  std::optional<StepStore> store;
  std::string end;  // what the end of the step follows from
  // Not behind training: the network follows from files that are not among the inputs.
  if (cache_.enabled() && !context.trained) {
    // Some sums round differently on other numbers of threads.
    const std::string threads = fmt::format("threads {}\n", at::get_num_threads());
    store.emplace(cache_, origin(network_settings(spec_, index) + threads));
    end = origin(settings + threads);
    if (!std::filesystem::exists(file)) cache_.fetch_progress(end, file);
  }
  context.shared = store ? &*store : nullptr;
  context.progress = keeps_progress ? StepProgress(file, settings) : StepProgress();
  const auto made = make_step(step);
  time(step.name(), [&] {
    if (made->rewrites()) {
      run_transform(*made, step.name(), context);
    } else {
      made->run(context);
    }
  });
  context.shared = nullptr;
  // A trained network is too large to be kept for each run.
  if (!context.trained) cache_.keep_progress(end, file);
  log_notes(bench_, log_);  // training data is read by the step that needs it
}

void Run::run_transform(Step& step, const std::string& name, PipelineContext& context) {
  // The first transform is the last chance to see what the original network gives.
  const bool is_first = record_.transforms.empty();
  const TransformCheck check = run_checked(
      step, name, context, {.from_original = is_first, .by_layer = held_.residency != nullptr});
  log_.info(fmt::format("{}: float outputs moved by at most {:.3g} (largest output {:.3g})", name,
                        check.max_difference, check.max_output));
  record_.transforms.push_back(check);
  record_outliers(name);
}

RunRecord Run::finish() {
  const Checkpoint& checkpoint = *bench_.checkpoint;
  const std::vector<at::Device>& devices = bench_.model->devices();
  if (!devices.front().is_cpu()) log_.info("copies to the host: " + host_copies_text());
  const std::string memory = device_memory_text(devices);
  if (!memory.empty()) log_.info("memory at most: " + memory);
  record_.name = spec_.name;
  record_.config = to_yaml(to_node(spec_));
  record_.sites = bench_.model->sites();
  for (size_t id = 0; id < record_.sites.size(); ++id) {
    const SitePoint* point = points_.point(static_cast<SiteId>(id));
    if (point == nullptr) continue;
    record_.quantized[static_cast<SiteId>(id)] = {
        point->spec,  point->observer_name,           point->quantizer_name,
        point->range, point->quantizer->parameters(), beyond_parameters(point->quantizer->state())};
  }
  held_.execution = nullptr;
  record_.size = model_size(*bench_.model, bench_.plan);
  if (outliers_) record_.outliers = outliers_->found();
  if (trained_ && spec_.record.model) {
    record_.trained = {bench_.model->stored_parameters(),
                       checkpoint.has_new_head() ? checkpoint.config().dump(2) + "\n" : ""};
  }
  record_.calibration_batches = std::ssize(calibration_);
  for (const Batch& batch : calibration_) record_.calibration_tokens += batch.tokens();
  record_.calibration_indices = bench_.task->calibration_indices();
  record_.model_folder = checkpoint.folder();
  record_.device = device_names(bench_.model->devices());
  record_.task_files = bench_.task->files();
  record_.task_protocol = bench_.task->protocol();
  return std::move(record_);
}

}  // namespace

RunRecord run_experiment(Bench bench, Log& log, const RunFolders& folders) {
  const at::NoGradGuard no_gradients;
  Run run(std::move(bench), log, folders);
  run.load_weights(/*evaluated_only=*/true);
  run.run_stages();
  run.hash_model();
  return run.finish();
}

RunRecord run_outliers(Bench bench, Log& log) {
  const at::NoGradGuard no_gradients;
  Run run(std::move(bench), log, {});
  run.load_weights();
  run.read_calibration();
  run.record_hidden_states();
  run.record_outliers(to_string(Stage::kFloat));
  return run.finish();
}

std::vector<std::string> additions_of(const Bench& bench) {
  SiteSet quantized;
  for (size_t id = 0; id < bench.plan.size(); ++id) {
    if (bench.plan[id].quantize) quantized.insert(static_cast<SiteId>(id));
  }
  std::vector<std::string> additions;
  for (const StepChoice& step : bench.spec.pipeline) {
    for (const std::string& one : make_step(step)->additions(*bench.model, quantized)) {
      additions.push_back(fmt::format("{}: {}", step.name(), one));
    }
  }
  return additions;
}

struct CalibratedNetwork::State {
  Run run;
};

CalibratedNetwork::CalibratedNetwork(Bench bench, Log& log)
    : state_(new State{Run(std::move(bench), log, {})}) {
  const at::NoGradGuard no_gradients;
  state_->run.load_weights();
  state_->run.read_calibration();
  state_->run.run_pipeline();
}

CalibratedNetwork::~CalibratedNetwork() = default;

Evaluation CalibratedNetwork::evaluate(const std::vector<SiteId>& quantized) {
  const at::NoGradGuard no_gradients;
  return state_->run.evaluate(quantized);
}

const Bench& CalibratedNetwork::bench() const { return state_->run.bench(); }

const SitePoints& CalibratedNetwork::points() const { return state_->run.points(); }

}  // namespace quell
