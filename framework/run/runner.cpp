#include "framework/run/runner.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/max.h>
#include <ATen/ops/sub.h>
#include <fmt/format.h>
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <span>
#include <thread>

#include "framework/base/error.h"
#include "framework/config/node.h"
#include "framework/config/scalar.h"
#include "framework/model/gather.h"
#include "framework/model/generate.h"
#include "framework/model/packed_engine.h"
#include "framework/run/calibration.h"
#include "framework/run/generation_defaults.h"
#include "framework/run/origin.h"

namespace quell {
namespace {

std::unique_ptr<Model> make_model(const ModelOptions& options, const Checkpoint& checkpoint,
                                  const Plugins& plugins) {
  std::string type = options.type;
  if (type.empty()) {
    const auto found = checkpoint.config().find("model_type");
    if (found == checkpoint.config().end() || !found->is_string()) {
      throw DataError(fmt::format("{}: no \"model_type\"; name the model with model.type",
                                  (checkpoint.folder() / "config.json").string()));
    }
    type = found->get<std::string>();
  }
  return ModelChoice(plugins.models, type).create(checkpoint);
}

std::unique_ptr<Tokenizer> find_tokenizer(const std::filesystem::path& folder) {
  for (const char* name : {"tokenizer.json", "vocab.txt", "vocab.json"}) {
    if (std::filesystem::exists(folder / name)) return load_tokenizer(folder);
  }
  return nullptr;
}

double largest(const at::Tensor& values) {
  return values.numel() == 0 ? 0 : at::max(at::abs(values)).item<double>();
}

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

}  // namespace

int64_t all_threads() {
  constexpr int64_t kMost = 1024;
  const char* share = std::getenv("QUELL_THREADS");
  const auto threads = share == nullptr || *share == '\0' ? 0 : parse_signed(share);
  if (!threads || *threads < 0 || *threads > kMost) {
    throw ConfigError(
        fmt::format("QUELL_THREADS is \"{}\", expected a number from 1 to {}, or 0 for all cores",
                    share, kMost));
  }
  return *threads > 0 ? *threads : std::max(1u, std::thread::hardware_concurrency());
}

Runner::Runner(const ExperimentSpec& spec, const Plugins& plugins, Log& log)
    : spec_(spec), log_(log), checkpoint_(spec.model.path, WeightFiles::kOptional) {
  at::set_num_threads(static_cast<int>(spec.threads > 0 ? spec.threads : all_threads()));
  timed("load", [&] {
    if (spec.model.head == ModelHead::kQuestionAnswering) {
      checkpoint_.start_head({"ForQuestionAnswering", "qa_outputs.", spec.seed});
    }
    model_ = make_model(spec.model, checkpoint_, plugins);
    if (checkpoint_.has_weights()) tensors_ = model_->match(checkpoint_);
    tokenizer_ = find_tokenizer(spec.model.path);
    TaskContext context;
    context.tokenizer = tokenizer_.get();
    context.model_config = &checkpoint_.config();
    context.pad_id = model_->pad_id();
    context.max_positions = model_->max_positions();
    context.vocabulary_size = model_->vocabulary_size();
    if (model_->writes_text()) {
      context.generation = generation_defaults(checkpoint_, model_->max_positions());
    }
    for (const std::string& note : checkpoint_.notes()) log_.info(note);
    task_ = spec.task.create(context);
  });
  if (tokenizer_) {
    for (const std::string& note : tokenizer_->notes()) log_.info(note);
  }
  log_notes();
  Problems problems;
  plan_ = plan_sites(model_->sites(), spec.quant.rules, plugins, problems);
  problems.throw_if_any();
  points_ = std::make_unique<SitePoints>(model_->sites());
  apply_plan(plan_, *points_);
  if (spec.record.outliers) {
    outliers_ = std::make_unique<OutlierRecorder>(*spec.record.outliers, model_->sites());
  }
}

template <class Work>
void Runner::timed(const std::string& name, const Work& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  seconds_.emplace_back(name, elapsed.count());
}

Network Runner::network(const SiteSet& quantized) const {
  const auto pass = std::make_shared<const Pass>(*points_, PassOptions{.quantize = quantized});
  const auto packed = std::make_shared<const Pass>(
      *points_, PassOptions{.quantize = quantized, .engine = engine_.get()});
  Network network{[this, pass](const Batch& batch) { return model_->forward(batch, *pass); }};
  network.predict_all = [=, this](std::span<const Batch> batches, const OutputSink& sink) {
    const auto& used = takes_packed_products(spec_, batches) ? packed : pass;
    execution_->run(
        batches, [&](size_t) { return used; }, BatchOrder::kAtOnce, sink);
  };
  if (!model_->writes_text()) return network;
  // Text is written a few rows at a time.
  network.generate = [this, packed](const Batch& batch, const GenerationOptions& options) {
    return quell::generate(*model_, batch, options, *packed);
  };
  return network;
}

void Runner::load_weights(const std::filesystem::path& progress) {
  if (execution_ != nullptr) return;
  if (may_take_packed_products(spec_)) engine_ = std::make_unique<PackedEngine>();
  if (!tensors_) checkpoint_.require_weights();
  const std::optional<ByLayerOptions>& by_layer = spec_.model.by_layer;
  timed("load", [&] {
    if (!by_layer) {
      model_->load(checkpoint_);
      execution_ = execute_whole(*model_);
      return;
    }
    check_steps();
    residency_ = one_at_a_time(*model_, *tensors_, *points_);
    std::filesystem::path folder;
    if (by_layer->states == StatesIn::kDisk) {
      folder = progress.empty() ? std::filesystem::temp_directory_path() : progress;
      std::filesystem::create_directories(folder);
    }
    execution_ = execute_by_segment(*model_, *residency_, folder);
  });
}

// Steps that change tensors, or run the whole network at once, need all of them in memory.
void Runner::check_steps() const {
  const auto refuse = [](const std::string& what) {
    throw ConfigError(fmt::format(
        "model.by_layer: {} needs the whole model in memory; leave `by_layer` out", what));
  };
  for (const StepChoice& step : spec_.pipeline) {
    const bool works =
        step.solver() != nullptr && step.solver()->create(step.params())->works_by_segment();
    if (!works) refuse("the step " + step.name());
  }
  if (outliers_ != nullptr) refuse("record.outliers");
  if (model_->writes_text()) refuse("writing text");
}

PipelineContext Runner::pipeline_context() {
  PipelineContext context{*model_, *points_, calibration_, log_, execution_};
  context.training = task_->training();
  context.seed = spec_.seed;
  return context;
}

bool Runner::wants(Stage stage) const {
  return std::find(spec_.stages.begin(), spec_.stages.end(), stage) != spec_.stages.end();
}

int64_t Runner::calibration_tokens() const {
  int64_t tokens = 0;
  for (const Batch& batch : calibration_) tokens += batch.tokens();
  return tokens;
}

void Runner::run(const RunFolders& folders) {
  const at::NoGradGuard no_gradients;
  cache_ = ResultCache(folders.cache);
  load_weights(folders.progress);
  // Before anything takes time: a missing training split should be known at once.
  if (!spec_.pipeline.empty() || outliers_ != nullptr) read_calibration();
  if (wants(Stage::kFloat)) evaluate(Stage::kFloat, false, false);
  record_outliers(to_string(Stage::kFloat));
  run_pipeline(folders.progress);
  if (spec_.pipeline.empty()) return;
  if (wants(Stage::kTransformed)) evaluate(Stage::kTransformed, false, false);
  if (wants(Stage::kWeightsOnly)) evaluate(Stage::kWeightsOnly, true, false);
  if (wants(Stage::kActivationsOnly)) evaluate(Stage::kActivationsOnly, false, true);
  if (wants(Stage::kQuantized)) {
    evaluate(Stage::kQuantized, true, true);
    record_outliers(to_string(Stage::kQuantized));
  }
  if (spec_.record.site_errors) {
    const std::vector<Batch> batches =
        recorded_batches(calibration_, spec_.record.site_error_batches);
    timed("site_errors", [&] {
      PipelineContext context = pipeline_context();
      site_errors_ = quell::site_errors(context, batches);
    });
  }
  PipelineContext context = pipeline_context();
  weight_errors_ = quell::weight_errors(context);
}

void Runner::run_outliers() {
  const at::NoGradGuard no_gradients;
  load_weights({});
  read_calibration();
  record_outliers(to_string(Stage::kFloat));
}

void Runner::record_outliers(const std::string& stage) {
  if (outliers_ == nullptr) return;
  const std::vector<Batch> batches = recorded_batches(calibration_, calibration_batches());
  if (outliers_->stages().empty()) outliers_->set_tokens(batches, tokenizer_.get());
  const bool quantized = stage == to_string(Stage::kQuantized);
  timed("outliers", [&] {
    outliers_->record(stage, *model_, *points_, points_->calibrated(quantized, quantized), batches,
                      log_);
  });
}

Evaluation Runner::evaluate_task(const char* name, const SiteSet& quantized) {
  return task_->evaluate(network(quantized),
                         [&](int64_t done, int64_t total) { log_.progress(name, done, total); });
}

Evaluation Runner::evaluate_float() {
  if (!cache_.enabled()) return evaluate_task(to_string(Stage::kFloat), {});
  const std::string settings = origin(float_settings(spec_));
  if (auto known = cache_.evaluation(settings)) return std::move(*known);
  Evaluation evaluation = evaluate_task(to_string(Stage::kFloat), {});
  cache_.keep(settings, evaluation);
  return evaluation;
}

void Runner::evaluate(Stage stage, bool weights, bool activations) {
  Evaluation evaluation;
  timed(to_string(stage), [&] {
    evaluation = stage == Stage::kFloat
                     ? evaluate_float()
                     : evaluate_task(to_string(stage), points_->calibrated(weights, activations));
  });
  std::string line = fmt::format("{:<16}", to_string(stage));
  for (const auto& [name, value] : evaluation.metrics)
    line += fmt::format("  {} {:.4f}", name, value);
  log_.info(line + fmt::format("  ({:.1f} s)", seconds_.back().second));
  stages_.push_back({stage, std::move(evaluation)});
}

void Runner::prepare() {
  const at::NoGradGuard no_gradients;
  load_weights({});
  read_calibration();
  run_pipeline({});
}

Evaluation Runner::evaluate(const std::vector<SiteId>& quantized) {
  const at::NoGradGuard no_gradients;
  SiteSet sites;
  for (const SiteId id : quantized) {
    const SitePoint* point = points_->point(id);
    QUELL_ASSERT(point != nullptr && point->calibrated, "a site without parameters");
    sites.insert(id);
  }
  return evaluate_task("evaluation", sites);
}

void Runner::read_calibration() {
  calibration_ = task_->calibration(spec_.calibration, spec_.seed);
  log_notes();
  Network network = this->network({});
  if (cache_.enabled() && network.generate) {
    network.generate = cache_.cached(origin(float_settings(spec_)), network.generate);
  }
  task_->complete_calibration(calibration_, network);
  if (spec_.calibration.padding == Padding::kUnobserved) hide_padding(calibration_);
}

std::string Runner::origin(const std::string& settings) {
  if (inputs_.empty()) {
    FileHashes hashes;
    inputs_ = inputs_text(spec_, checkpoint_.fingerprint(), input_files(checkpoint_, task_files()),
                          hashes);
  }
  return inputs_ + settings;
}

void Runner::log_notes() {
  const std::vector<std::string> notes = task_->notes();
  for (; notes_logged_ < notes.size(); ++notes_logged_) log_.info(notes[notes_logged_]);
}

void Runner::run_pipeline(const std::filesystem::path& progress) {
  PipelineContext context = pipeline_context();
  for (size_t index = 0; index < spec_.pipeline.size(); ++index) {
    run_step(index, progress, context);
  }
  records_ = std::move(context.records);
  trained_ = context.trained;
}

void Runner::run_step(size_t index, const std::filesystem::path& progress,
                      PipelineContext& context) {
  const StepChoice& step = spec_.pipeline[index];
  const std::string settings = step_settings(spec_, index);
  std::filesystem::path file;
  if (!progress.empty()) {
    file = progress / fmt::format("{}-{}.safetensors", index, step.name());
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
  context.progress = progress.empty() ? StepProgress() : StepProgress(file, settings);
  timed(step.name(), [&] {
    if (step.transform() != nullptr) {
      run_transform(step, context);
    } else {
      step.solver()->create(step.params())->run(context);
    }
  });
  context.shared = nullptr;
  // A trained network is too large to be kept for each run.
  if (!context.trained) cache_.keep_progress(end, file);
  log_notes();  // training data is read by the step that needs it
}

void Runner::run_transform(const StepChoice& step, PipelineContext& context) {
  // The first transform is the last chance to see what the original network gives.
  const std::vector<Outputs> before =
      transforms_.empty() ? original_outputs(context) : calibration_outputs(context);
  step.transform()->create(step.params())->run(context);
  const std::vector<Outputs> after = calibration_outputs(context);
  TransformCheck check{step.name()};
  for (size_t i = 0; i < before.size(); ++i) {
    for (const auto& [name, output] : before[i]) {
      check.max_difference =
          std::max(check.max_difference, largest(at::sub(after[i].at(name), output)));
      check.max_output = std::max(check.max_output, largest(output));
    }
  }
  log_.info(fmt::format("{}: float outputs moved by at most {:.3g} (largest output {:.3g})",
                        step.name(), check.max_difference, check.max_output));
  transforms_.push_back(check);
  record_outliers(step.name());
}

}  // namespace quell
