#include "solvers/training/trained_network.h"

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <algorithm>

#include "framework/base/draw.h"
#include "framework/base/error.h"
#include "framework/solve/calibration.h"

namespace quell {
namespace {

// Apart from those of the order of examples.
constexpr uint64_t kDropoutSeed = 0xD50;

DropoutRates rates_of(const PipelineContext& context, const QatOptions& options) {
  if (!options.dropout) return context.model.dropout_rates();
  return {*options.dropout, *options.dropout, *options.dropout};
}

// Of a parameter of the model, and of the quantizer of a site.
std::string stored_name(const TrainedTensor& trained) { return "tensor." + trained.name; }
std::string stored_prefix(const Site& site) { return "quantizer." + site.key() + "."; }

bool follows(const QatOptions& options, Followed kind) {
  return options.follow == kind || options.follow == Followed::kAll;
}

std::string observer_part(const Site& site, size_t part) {
  return fmt::format("observer.{}.{}", site.key(), part);
}

const at::Tensor& stored(const NamedTensors& state, const std::string& name,
                         const at::Tensor& like) {
  const auto found = state.find(name);
  if (found != state.end() && found->second.sizes() == like.sizes()) return found->second;
  throw DataError(
      fmt::format("qat: the stored progress does not fit \"{}\"; it belongs to another run", name));
}

bool is_gamma(const ScaleGroup& group, const at::Tensor& tensor) {
  return group.norm != nullptr && group.norm->weight.is_same(tensor);
}

bool is_migrated_gamma(Model& model, const at::Tensor& tensor) {
  const auto& groups = model.graph().groups;
  return std::any_of(groups.begin(), groups.end(), [&](const ScaleGroup& group) {
    return group.gamma_moved && is_gamma(group, tensor);
  });
}

bool is_gamma(Model& model, const at::Tensor& tensor) {
  const auto& groups = model.graph().groups;
  return std::any_of(groups.begin(), groups.end(),
                     [&](const ScaleGroup& group) { return is_gamma(group, tensor); });
}

}  // namespace

TrainedNetwork::TrainedNetwork(PipelineContext& context, const QatOptions& options)
    : context_(context),
      quantize_(options.quantize),
      dropout_(rates_of(context, options), derived_seed(context.seed, kDropoutSeed)),
      pass_{.quantize = context.points.calibrated(quantize_, quantize_), .dropout = &dropout_} {
  collect_parameters(options);
  if (quantize_) collect_learnable(options);
  if (quantize_ && follows(options, Followed::kActivations)) collect_observed(options);
  for (TrainedTensor& trained : tensors_) trained.tensor.set_requires_grad(true);
}

TrainedNetwork::~TrainedNetwork() {
  for (TrainedTensor& trained : tensors_) {
    trained.tensor.mutable_grad() = at::Tensor();
    trained.tensor.set_requires_grad(false);
  }
}

void TrainedNetwork::collect_parameters(const QatOptions& options) {
  for (const auto& [name, tensor] : context_.model.parameters()) {
    if (is_migrated_gamma(context_.model, tensor)) continue;
    const bool published =
        name.find("bias") == std::string::npos && !is_gamma(context_.model, tensor);
    const bool decayed = options.decayed == Decayed::kPublished ? published : tensor.dim() > 1;
    tensors_.push_back({name, tensor, 1, decayed ? options.weight_decay : 0});
  }
  parameters_ = tensors_.size();
}

void TrainedNetwork::collect_learnable(const QatOptions& options) {
  const double factor =
      options.scale_learning_rate > 0 ? options.scale_learning_rate / options.learning_rate : 1;
  const double decay = options.decayed == Decayed::kPublished ? options.weight_decay : 0;
  for (size_t i = 0; i < context_.model.sites().size(); ++i) {
    const auto id = static_cast<SiteId>(i);
    const Site& site = context_.model.sites()[i];
    SitePoint* point = context_.points.point(id);
    if (point == nullptr) continue;
    const std::vector<LearnableTensor> learnable = point->quantizer->learnable();
    if (!learnable.empty()) {
      learned_.push_back(id);
    } else if (site.kind == SiteKind::kWeight && point->range.min.defined() &&
               follows(options, Followed::kWeights)) {
      followed_.push_back(id);
    }
    for (const LearnableTensor& one : learnable) {
      tensors_.push_back({site.key() + "." + one.name, one.tensor, factor, decay});
    }
  }
}

void TrainedNetwork::collect_observed(const QatOptions& options) {
  for (size_t i = 0; i < context_.model.sites().size(); ++i) {
    const auto id = static_cast<SiteId>(i);
    const Site& site = context_.model.sites()[i];
    if (site.kind == SiteKind::kWeight || !pass_.quantize.contains(id)) continue;
    const SitePoint& point = *context_.points.point(id);
    if (point.spec.is_dynamic() || !point.quantizer->learnable().empty()) continue;
    if (options.checkpoint_every > 0 && point.observer->state().empty()) {
      throw ConfigError(
          fmt::format("qat: follow: {} with the observer {} of {}, whose state cannot be stored; "
                      "set checkpoint_every: 0, or take another observer",
                      enum_name(options.follow), point.observer_settings, site.key()));
    }
    observed_.push_back(id);
    pass_.observe.insert(id);
  }
}

Pass TrainedNetwork::pass(const Batch& batch) const {
  PassOptions options = pass_;
  if (batch.padding_unobserved) {
    options.observed_rows.emplace(batch.offsets, batch.valid_lengths);
  }
  return Pass(context_.points, std::move(options));
}

void TrainedNetwork::follow_weights() {
  for (const SiteId id : followed_) {
    SitePoint& point = *context_.points.point(id);
    const at::Tensor weight = context_.model.weight(id).detach();
    point.observer->reset();
    point.observer->observe(weight);
    use_range(context_.model.sites()[static_cast<size_t>(id)], point, weight);
  }
}

void TrainedNetwork::start_step(int64_t step) {
  dropout_.start_step(step);
  follow_weights();
}

void TrainedNetwork::end_step() {
  for (const SiteId id : learned_) context_.points.point(id)->quantizer->constrain();
}

NamedTensors TrainedNetwork::state() const {
  NamedTensors state;
  for (const SiteId id : learned_) {
    add_named(stored_prefix(context_.model.sites()[static_cast<size_t>(id)]),
              context_.points.point(id)->quantizer->state(), state);
  }
  for (const SiteId id : observed_) {
    const Site& site = context_.model.sites()[static_cast<size_t>(id)];
    const std::vector<at::Tensor> parts = context_.points.point(id)->observer->state();
    for (size_t i = 0; i < parts.size(); ++i) state[observer_part(site, i)] = parts[i];
  }
  for (const TrainedTensor& trained : parameters()) {
    state[stored_name(trained)] = trained.tensor.detach();
  }
  return state;
}

void TrainedNetwork::restore(const NamedTensors& state) {
  const at::NoGradGuard no_gradients;
  for (const SiteId id : learned_) {
    const Site& site = context_.model.sites()[static_cast<size_t>(id)];
    context_.points.point(id)->quantizer->set_state(part_of(state, stored_prefix(site)));
  }
  for (const SiteId id : observed_) {
    const Site& site = context_.model.sites()[static_cast<size_t>(id)];
    std::vector<at::Tensor> parts;
    for (auto part = state.find(observer_part(site, 0)); part != state.end();
         part = state.find(observer_part(site, parts.size()))) {
      parts.push_back(part->second);
    }
    SitePoint& point = *context_.points.point(id);
    point.observer->set_state(parts);
    use_range(site, point);
  }
  for (const TrainedTensor& trained : parameters()) {
    at::Tensor(trained.tensor).copy_(stored(state, stored_name(trained), trained.tensor));
  }
}

void TrainedNetwork::finish() {
  follow_weights();
  for (const SiteId id : observed_) {
    use_range(context_.model.sites()[static_cast<size_t>(id)], *context_.points.point(id));
  }
  for (const SiteId id : learned_) context_.points.point(id)->range = {};
  for (size_t i = 0; i < context_.model.sites().size(); ++i) {
    const auto id = static_cast<SiteId>(i);
    context_.points.weight_changed(id);
    SitePoint* point = context_.points.point(id);
    // Ranges of a float network that is no more.
    if (!quantize_ && point != nullptr) point->calibrated = point->spec.is_dynamic();
  }
  // What searches compare with is the float network from now on.
  if (!quantize_) context_.float_outputs.clear();
  context_.trained = true;
}

}  // namespace quell
