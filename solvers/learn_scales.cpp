// The fine stage of token-wise clipping (Outlier Suppression, section 4.2): scales and zero points
// of activations by gradient descent on the distance between the outputs of the quantized and the
// float network.

#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>
#include <cmath>
#include <numeric>

#include "framework/base/error.h"
#include "framework/model/pipeline.h"
#include "framework/plugin/registry.h"
#include "framework/solve/calibration.h"
#include "framework/train/adam.h"
#include "framework/train/loss.h"
#include "framework/train/schedule.h"

namespace quell {
namespace {

constexpr const char* kName = "learn_scales";

struct Params {
  int64_t epochs = 3;
  double learning_rate = 1e-5;
  Decay decay = Decay::kCosine;
  bool quantize_weights = false;
  Targets targets = Targets::kOriginal;

  template <class V>
  static void describe(V& v) {
    v("epochs", &Params::epochs, "passes over the calibration batches, in their order",
      at_least(1));
    v("learning_rate", &Params::learning_rate, "of Adam, at the first step", greater_than(0));
    v("decay", &Params::decay, "how the learning rate falls, to 0 after the last step");
    v("quantize_weights", &Params::quantize_weights,
      "learn with quantized weights; published: float ones");
    v("targets", &Params::targets,
      "outputs to come near to: of the float network that the pipeline started with, or of the "
      "one after the transforms");
  }
};

// The learnable parameters of one activation.
struct LearnedSite {
  std::string key;
  SitePoint* point;
};

class LearnScales final : public Solver {
 public:
  explicit LearnScales(const Params& params) : params_(params) {}

  void run(PipelineContext& context) override;

 private:
  void learn(PipelineContext& context, const Pass& pass, const std::vector<LearnedSite>& sites,
             const std::vector<Outputs>& targets) const;

  Params params_;
};

std::vector<LearnedSite> learned_sites(PipelineContext& context) {
  std::vector<LearnedSite> result;
  for (size_t i = 0; i < context.model.sites().size(); ++i) {
    const Site& site = context.model.sites()[i];
    SitePoint* point = context.points.point(static_cast<SiteId>(i));
    if (site.kind != SiteKind::kActivation || point == nullptr || !point->calibrated) continue;
    if (!point->quantizer->learnable().empty()) result.push_back({site.key(), point});
  }
  if (!result.empty()) return result;
  throw ConfigError(
      fmt::format("{}: no activation has parameters to learn; give some of them `quantizer: lsq` "
                  "or `lsq_plus`, and find their ranges with a step before this one",
                  kName));
}

std::vector<TrainedTensor> trained_tensors(const std::vector<LearnedSite>& sites) {
  std::vector<TrainedTensor> result;
  for (const LearnedSite& site : sites) {
    for (const LearnableTensor& learnable : site.point->quantizer->learnable()) {
      result.push_back({site.key + "." + learnable.name, learnable.tensor.requires_grad_()});
    }
  }
  return result;
}

double epoch_loss(const std::vector<double>& losses, int64_t first, int64_t count) {
  return std::accumulate(losses.begin() + first, losses.begin() + first + count, 0.0);
}

std::string stored_prefix(const LearnedSite& site) { return "quantizer." + site.key + "."; }

NamedTensors progress_of(const std::vector<LearnedSite>& sites, const Adam& adam,
                         const std::vector<double>& loss) {
  NamedTensors tensors = adam.state();
  for (const LearnedSite& site : sites) {
    add_named(stored_prefix(site), site.point->quantizer->state(), tensors);
  }
  tensors["loss"] = at::tensor(loss, at::kDouble);
  return tensors;
}

void go_on(const NamedTensors& saved, const std::vector<LearnedSite>& sites, Adam& adam,
           std::vector<double>& losses) {
  if (saved.empty()) return;
  for (const LearnedSite& site : sites) {
    site.point->quantizer->set_state(part_of(saved, stored_prefix(site)));
  }
  adam.set_state(saved);
  const at::Tensor loss = saved.at("loss");
  losses.assign(loss.const_data_ptr<double>(), loss.const_data_ptr<double>() + loss.numel());
}

// Of the loss, which it returns.
double compute_gradients(const Model& model, const Pass& pass, const Batch& batch,
                         const Outputs& target) {
  const at::AutoGradMode gradients(true);
  const at::Tensor loss = output_distance(model.forward(batch, pass), target, batch);
  loss.backward();
  return loss.item<double>();
}

void constrain(const std::vector<LearnedSite>& sites) {
  for (const LearnedSite& site : sites) site.point->quantizer->constrain();
}

void LearnScales::learn(PipelineContext& context, const Pass& pass,
                        const std::vector<LearnedSite>& sites,
                        const std::vector<Outputs>& targets) const {
  const auto batches = static_cast<int64_t>(context.calibration.size());
  const LearningRate rate{params_.learning_rate, params_.decay, params_.epochs * batches, 0};
  Adam adam(trained_tensors(sites), {});
  std::vector<double> loss, learning_rate;
  constrain(sites);
  go_on(context.progress.saved(), sites, adam, loss);
  for (int64_t step = adam.steps(); step < rate.steps; ++step) {
    const auto batch = static_cast<size_t>(step % batches);
    adam.clear_gradients();
    loss.push_back(
        compute_gradients(context.model, pass, context.calibration[batch], targets[batch]));
    if (!std::isfinite(loss.back())) {
      throw Error(fmt::format("{}: the loss of step {} is not finite; lower learning_rate", kName,
                              step + 1));
    }
    adam.step(rate.at(step));
    constrain(sites);
    if (context.progress.due()) context.progress.save(progress_of(sites, adam, loss));
    context.log.progress(kName, step + 1, rate.steps);
  }
  for (int64_t step = 0; step < rate.steps; ++step) learning_rate.push_back(rate.at(step));
  adam.clear_gradients();  // later steps would add to them
  for (const TrainedTensor& trained : adam.trained()) trained.tensor.requires_grad_(false);
  context.log.info(fmt::format("{}: {} parameters of {} sites, loss of an epoch {:.6g} -> {:.6g}",
                               kName, adam.trained().size(), sites.size(),
                               epoch_loss(loss, 0, batches),
                               epoch_loss(loss, rate.steps - batches, batches)));
  context.records.push_back(learning_record(kName, loss, learning_rate));
}

void LearnScales::run(PipelineContext& context) {
  if (context.calibration.empty()) {
    throw ConfigError(fmt::format("{}: no calibration batches; raise calibration.samples", kName));
  }
  const std::vector<LearnedSite> sites = learned_sites(context);
  const std::vector<Outputs> targets = target_outputs(context, params_.targets);
  const Pass pass(context.points,
                  {.quantize = context.points.calibrated(params_.quantize_weights, true)});
  learn(context, pass, sites, targets);
}

}  // namespace

void register_solver_learn_scales(Plugins& plugins) {
  add_plugin<LearnScales, Params>(plugins.solvers, kName,
                                  "Learn scales and zero points of activations by the outputs.",
                                  "OS section 4.2, fine stage");
}

}  // namespace quell
