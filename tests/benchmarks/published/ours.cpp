#include "tests/benchmarks/published/ours.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <filesystem>
#include <fstream>

#include "framework/plugin/registry.h"
#include "framework/quant/device.h"
#include "framework/quant/quantizer.h"
#include "framework/solve/calibration.h"
#include "framework/text/tokenizer.h"

namespace quell::published {
namespace {

constexpr const char* kLearning = "learn_scales";

class Eager final : public Quantizer {
 public:
  Eager(const NoParams&, const QuantSpec& spec) : Quantizer(spec) {}

  void init(const Range& range) override { parameters_ = parameters_from_range(range, spec()); }
  void set_parameters(const QuantParameters& parameters) override { parameters_ = parameters; }
  QuantParameters parameters() const override { return parameters_; }
  at::Tensor apply(const at::Tensor& rows, bool) const override {
    const at::Tensor scaled = rows / parameters_.scale;
    const at::Tensor rounded = (at::round(scaled) - scaled) + scaled;
    const auto [low, high] = parameters_.levels;
    const at::Tensor codes = at::clamp(rounded + parameters_.zero_point, low, high);
    return (codes - parameters_.zero_point) * parameters_.scale;
  }

 private:
  QuantParameters parameters_;
};

ExperimentSpec read_experiment(const Problem& problem, const Variant& variant,
                               const Plugins& plugins) {
  const bool learn = has_learning(plugins) && !variant.search_only;
  const std::string yaml = fmt::format(
      R"(
name: {0}
threads: {1}
model: {{path: "{2}", device: "{9}"}}
task: {3}
calibration: {{samples: 256, padding: {4}}}
quant:
  include: [placements/outlier_suppression.yaml, outlier_suppression/observers.yaml]
  rules:
    - {{sites: ["weight:*", "activation:*"], bits: {5}}}
    - {{sites: "activation:*", quantizer: {6}}}
pipeline: [{{gamma_migration: {{epsilon: 1.0e-5}}}}, {{token_wise_clipping: {{{7}}}}}{8}]
)",
      problem.name, problem.threads, problem.model.string(), problem.task,
      variant.keep_padding ? "keep" : "drop", problem.bits, variant.quantizer, variant.search,
      learn ? fmt::format(", {{{}: {{epochs: 3, learning_rate: 1.0e-5}}}}", kLearning) : "",
      problem.device);
  const auto file = std::filesystem::temp_directory_path() / "quell_published_benchmark.yaml";
  std::ofstream(file) << yaml;
  ExperimentSpec spec = load_experiment(file, {}, plugins);
  std::filesystem::remove(file);
  return spec;
}

std::unique_ptr<SitePoints> plan(const Model& model, const ExperimentSpec& spec,
                                 const Plugins& plugins) {
  Problems problems;
  const auto sites = plan_sites(model.sites(), spec.quant.rules, plugins, problems);
  problems.throw_if_any();
  auto points = std::make_unique<SitePoints>(model.sites());
  apply_plan(sites, *points);
  return points;
}

}  // namespace

void register_eager_quantizer(Plugins& plugins) {
  add_plugin<Eager, NoParams>(plugins.quantizers, "eager", "As fixed, in single operations.",
                              "OS, its code");
}

bool has_learning(const Plugins& plugins) { return plugins.solvers.find(kLearning) != nullptr; }

std::string learned_quantizer(const Plugins& plugins) {
  return has_learning(plugins) ? "lsq_plus" : "fixed";
}

Setup::Setup(const Problem& problem, const Variant& variant, const Plugins& plugins)
    : spec_(read_experiment(problem, variant, plugins)),
      checkpoint_(problem.model),
      model_(ModelChoice(plugins.models, "bert").create(checkpoint_)),
      tokenizer_(load_tokenizer(problem.model)),
      search_only_(variant.search_only) {
  model_->set_devices(available_devices({problem.device}));
  model_->load(checkpoint_);
  TaskContext context;
  context.tokenizer = tokenizer_.get();
  context.model_config = &checkpoint_.config();
  context.pad_id = model_->pad_id();
  context.max_positions = model_->max_positions();
  context.vocabulary_size = model_->vocabulary_size();
  task_ = spec_.task.create(context);
  points_ = plan(*model_, spec_, plugins);
  calibration_ = task_->calibration(spec_.calibration, spec_.seed);
}

OurResult Setup::run() {
  at::set_num_threads(static_cast<int>(spec_.threads));
  OurResult result;
  PipelineContext context{*model_, *points_, calibration_, log_};
  result.times["targets"] = timed([&] { original_outputs(context); });
  for (const StepChoice& step : spec_.pipeline) {
    const std::string stage = step.name() == "token_wise_clipping" ? "search"
                              : step.name() == kLearning           ? "learning"
                                                                   : step.name();
    result.times[stage] = timed([&] { run_step(step, context); });
  }
  result.search = searches(context.records).at(0);
  const std::string& said = log_.text();
  result.search_note = said.substr(said.find("token_wise_clipping: ratio"));
  result.search_note.resize(result.search_note.find('\n'));
  if (!search_only_) {
    result.times["evaluation"] = timed([&] { result.metrics = evaluate(); });
  }
  for (size_t i = 0; i < model_->sites().size(); ++i) {
    const SitePoint* point = points_->point(static_cast<SiteId>(i));
    if (point == nullptr || model_->sites()[i].kind != SiteKind::kActivation) continue;
    const QuantParameters found = point->quantizer->parameters();
    for (const auto& [paper, name] : model_->sites()[i].published_names) {
      if (paper != "outlier_suppression") continue;
      result.parameters[name] = {found.scale.item<double>(), found.zero_point.item<double>()};
    }
  }
  return result;
}

// As the runner does: a transform is checked on the calibration set.
void Setup::run_step(const StepChoice& step, PipelineContext& context) {
  if (step.transform() != nullptr) {
    step.transform()->create(step.params())->run(context);
    calibration_outputs(context);
  } else {
    step.solver()->create(step.params())->run(context);
  }
}

Metrics Setup::evaluate() {
  const Pass pass(*points_, {.quantize = points_->calibrated(true, true)});
  return task_
      ->evaluate({[&](const Batch& batch) { return model_->forward(batch, pass); }}, nullptr)
      .metrics;
}

at::Tensor Setup::rows_at(const std::string& site) {
  at::Tensor rows;
  const Tap tap = [&](SiteId id, const at::Tensor& before, const at::Tensor&) {
    const Site& here = model_->sites()[static_cast<size_t>(id)];
    if (here.kind == SiteKind::kActivation && here.name == site) rows = before.clone();
  };
  model_->forward(calibration_.front(), Pass(*points_, {.tap = tap}));
  return rows;
}

std::vector<Batch> Setup::evaluation_batches() const {
  const int threads = at::get_num_threads();
  at::set_num_threads(1);  // so that they come in order
  std::vector<Batch> result;
  task_->evaluate({[&](const Batch& batch) {
                    result.push_back(batch);
                    return model_->zero_outputs(batch);
                  }},
                  nullptr);
  at::set_num_threads(threads);
  return result;
}

Metrics Setup::score(const std::vector<at::Tensor>& logits) const {
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  size_t next = 0;
  const Evaluation evaluation = task_->evaluate({[&](const Batch&) {
                                                  return Outputs{{"logits", logits.at(next++)}};
                                                }},
                                                nullptr);
  at::set_num_threads(threads);
  return evaluation.metrics;
}

}  // namespace quell::published
