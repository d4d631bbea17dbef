#include "solvers/adaround/block_reconstruction.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/autograd.h>
#include <algorithm>
#include <numeric>

#include "framework/base/draw.h"
#include "framework/base/error.h"
#include "framework/quant/device.h"
#include "solvers/adaround/pieces.h"
#include "solvers/adaround/rounding_optimizer.h"

namespace quell {

// Gives the soft weight, which gradients reach.
class BlockReconstruction::SoftQuantizer final : public Quantizer {
 public:
  SoftQuantizer(const QuantSpec& spec, QuantParameters parameters, at::Tensor leaf)
      : Quantizer(spec), parameters_(std::move(parameters)), leaf_(std::move(leaf)) {}
  void init(const Range& /*range*/) override { QUELL_ASSERT(false, "rounding is being learned"); }
  void set_parameters(const QuantParameters& /*parameters*/) override {
    QUELL_ASSERT(false, "rounding is being learned");
  }
  QuantParameters parameters() const override { return parameters_; }
  at::Tensor apply(const at::Tensor& rows, bool /*in_place*/) const override {
    return leaf_.to(rows.device());
  }
  std::vector<LearnableTensor> learnable() override { return {{"soft", leaf_}}; }

 private:
  QuantParameters parameters_;
  at::Tensor leaf_;
};

// Leaves values as they are at random. The draw follows from the seed, the iteration and the
// value's position.
class BlockReconstruction::DroppingQuantizer final : public Quantizer {
 public:
  // `inner` must live as long; `iteration` is that of the call.
  DroppingQuantizer(const QuantSpec& spec, Quantizer& inner, double probability, uint64_t seed,
                    const int64_t& iteration)
      : Quantizer(spec),
        inner_(inner),
        probability_(probability),
        seed_(seed),
        iteration_(iteration) {}
  void init(const Range& /*range*/) override { QUELL_ASSERT(false, "rounding is being learned"); }
  void set_parameters(const QuantParameters& /*parameters*/) override {
    QUELL_ASSERT(false, "rounding is being learned");
  }
  QuantParameters parameters() const override { return inner_.parameters(); }
  at::Tensor apply(const at::Tensor& rows, bool /*in_place*/) const override {
    DropoutRates rates;
    rates.hidden = probability_;
    Dropout draw(rates, seed_);
    draw.start_step(iteration_);
    const at::Tensor quantized = draw.apply(DropoutPlace::kHidden, at::ones_like(rows)).gt(0);
    return at::where(quantized, inner_.apply(rows, /*in_place=*/false), rows);
  }

 private:
  Quantizer& inner_;
  double probability_;
  uint64_t seed_;
  const int64_t& iteration_;
};

// A point with another quantizer for as long as this lives.
class BlockReconstruction::Replaced {
 public:
  template <class Make>
  Replaced(PipelineContext& context, SiteId site, const Make& make)
      : points_(context.points),
        site_(site),
        own_(std::move(context.points.point(site)->quantizer)) {
    SitePoint& point = *points_.point(site);
    point.quantizer = make(point.spec, *own_);
    points_.weight_changed(site);
  }
  ~Replaced() {
    points_.point(site_)->quantizer = std::move(own_);
    points_.weight_changed(site_);
  }
  Replaced(const Replaced&) = delete;
  Replaced& operator=(const Replaced&) = delete;

 private:
  SitePoints& points_;
  SiteId site_;
  std::unique_ptr<Quantizer> own_;
};

namespace {

// What a segment hands on, or the network's outputs.
std::vector<at::Tensor> handed_on(const State& state) {
  std::vector<at::Tensor> tensors;
  for (const auto& [name, output] : state.outputs) tensors.push_back(output);
  if (!tensors.empty()) return tensors;
  return {state.rows.values.defined() ? state.rows.values : state.memory.values};
}

double squared_distance(const std::vector<at::Tensor>& found,
                        const std::vector<at::Tensor>& targets) {
  double sum = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    sum += found[i].sub(targets[i]).to(at::kDouble).square_().sum().item<double>();
  }
  return sum;
}

int64_t values_of(const std::vector<at::Tensor>& tensors) {
  return std::accumulate(tensors.begin(), tensors.end(), int64_t{0},
                         [](int64_t sum, const at::Tensor& one) { return sum + one.numel(); });
}

}  // namespace

BlockReconstruction::BlockReconstruction(PipelineContext& context, const AdaRoundOptions& options,
                                         const TwoNetworks& networks, const Segment& segment,
                                         const std::vector<SiteId>& weights)
    : context_(context),
      options_(options),
      networks_(networks),
      segment_(segment),
      sites_(weights),
      targets_(networks.new_states()) {
  for (const SiteId site : sites_) {
    const SitePoint& point = *context.points.point(site);
    const at::Tensor weight = on_host(context.model.weight(site), "adaround");
    weights_.push_back(std::make_unique<SoftWeight>(
        weight, point.quantizer->parameters(), point.spec, options.relaxation, options.beta_start));
    leaves_.push_back(
        weights_.back()->values().detach().view(weight.sizes()).set_requires_grad(true));
  }
  for_each_piece(static_cast<int64_t>(networks.batches()), [&](int64_t i) {
    const auto batch = static_cast<size_t>(i);
    State state = networks.original_state(batch);
    segment.run(state, networks.input(batch), networks.original_pass());
    targets_->put(batch, std::move(state));
  });
}

BlockReconstruction::~BlockReconstruction() = default;

std::vector<at::Tensor> BlockReconstruction::outputs(size_t batch, const Pass& pass,
                                                     State state) const {
  segment_.run(state, networks_.input(batch), pass);
  return handed_on(state);
}

std::vector<size_t> BlockReconstruction::drawn_batches() const {
  const auto batches = static_cast<int64_t>(networks_.batches());
  int64_t sequences = 0;
  for (const Batch& batch : context_.calibration) sequences += batch.sequences();
  const int64_t wanted = std::clamp<int64_t>(options_.batch_size * batches / sequences, 1, batches);
  const uint64_t seed =
      derived_seed(derived_seed(context_.seed, static_cast<uint64_t>(sites_.front())),
                   static_cast<uint64_t>(iterations_));
  const std::vector<int64_t> drawn = draw_without_replacement(batches, wanted, seed);
  return {drawn.begin(), drawn.end()};
}

BlockReconstruction::Gradients BlockReconstruction::gradients(size_t batch) const {
  const at::AutoGradMode record(true);
  const std::vector<at::Tensor> found =
      outputs(batch, networks_.quantized_pass(), networks_.quantized_state(batch));
  const std::vector<at::Tensor> targets = handed_on(targets_->get(batch));
  at::Tensor loss;
  for (size_t i = 0; i < found.size(); ++i) {
    // While gradients are recorded a model leaves no rows out that nobody reads.
    const bool has_more = found[i].size(0) > targets[i].size(0);
    const at::Tensor compared =
        has_more ? at::index_select(found[i], 0, networks_.input(batch).first_rows) : found[i];
    const at::Tensor part = compared.sub(targets[i]).square().sum();
    loss = loss.defined() ? loss.add(part) : part;
  }
  Gradients result{loss.item<double>(), {}};
  result.weights = torch::autograd::grad({loss}, {leaves_.begin(), leaves_.end()},
                                         /*grad_outputs=*/{}, /*retain_graph=*/std::nullopt,
                                         /*create_graph=*/false, /*allow_unused=*/true);
  return result;
}

double BlockReconstruction::step() {
  std::vector<std::unique_ptr<Replaced>> replaced;
  for (size_t i = 0; i < sites_.size(); ++i) {
    replaced.push_back(
        std::make_unique<Replaced>(context_, sites_[i], [&](const QuantSpec& spec, Quantizer& own) {
          return std::make_unique<SoftQuantizer>(spec, own.parameters(), leaves_[i]);
        }));
  }
  const SiteRange range = context_.model.sites_of(segment_);
  for (SiteId id = range.first; options_.drop > 0 && id < range.end; ++id) {
    if (id >= std::ssize(context_.model.sites())) break;
    const SitePoint* point = context_.points.point(id);
    if (point == nullptr || point->spec.is_weight) continue;
    const uint64_t seed = derived_seed(context_.seed, static_cast<uint64_t>(id));
    replaced.push_back(
        std::make_unique<Replaced>(context_, id, [&](const QuantSpec& spec, Quantizer& own) {
          return std::make_unique<DroppingQuantizer>(spec, own, options_.drop, seed, iterations_);
        }));
  }
  const std::vector<size_t> batches = drawn_batches();
  std::vector<Gradients> found(batches.size());
  for_each_piece(std::ssize(batches), [&](int64_t i) {
    found[static_cast<size_t>(i)] = gradients(batches[static_cast<size_t>(i)]);
  });
  // As published: summed over the second dimension, averaged over the others.
  int64_t sequences = 0;
  double loss = 0;
  for (size_t i = 0; i < batches.size(); ++i) {
    sequences += context_.calibration[batches[i]].sequences();
    loss += found[i].loss;
  }
  const std::vector<at::Tensor> targets = handed_on(targets_->get(batches.front()));
  const Batch& first = context_.calibration[batches.front()];
  const bool one_row_each = targets.front().size(0) == first.sequences();
  const double factor = 1 / (static_cast<double>(sequences) *
                             (one_row_each ? 1.0 : static_cast<double>(targets.front().size(-1))));
  kernels::RoundingStep step = scheduled_step(options_, iterations_ + 1);
  step.gradient_factor = static_cast<float>(factor);
  for_each_piece(std::ssize(weights_), [&](int64_t i) {
    const auto index = static_cast<size_t>(i);
    at::Tensor sum = at::zeros_like(weights_[index]->values());
    for (const Gradients& one : found) {
      if (one.weights[index].defined()) sum.add_(one.weights[index].view(sum.sizes()));
    }
    weights_[index]->step(sum, step);
  });
  ++iterations_;
  return loss * factor;
}

double BlockReconstruction::mean_squared_error() const {
  std::vector<double> errors(networks_.batches());
  std::vector<int64_t> values(networks_.batches());
  for_each_piece(static_cast<int64_t>(networks_.batches()), [&](int64_t i) {
    const at::NoGradGuard no_gradients;
    const auto batch = static_cast<size_t>(i);
    const std::vector<at::Tensor> targets = handed_on(targets_->get(batch));
    errors[batch] = squared_distance(
        outputs(batch, networks_.quantized_pass(), networks_.quantized_state(batch)), targets);
    values[batch] = values_of(targets);
  });
  return std::accumulate(errors.begin(), errors.end(), 0.0) /
         static_cast<double>(std::accumulate(values.begin(), values.end(), int64_t{0}));
}

std::vector<int64_t> BlockReconstruction::decide() {
  std::vector<int64_t> changed;
  for (size_t i = 0; i < sites_.size(); ++i) {
    SitePoint& point = *context_.points.point(sites_[i]);
    const at::Tensor nearest =
        fake_quantize(context_.model.weight(sites_[i]), point.quantizer->parameters(), point.spec,
                      /*in_place=*/false);
    changed.push_back(weights_[i]
                          ->hard_values()
                          .ne(nearest.view(weights_[i]->values().sizes()))
                          .sum()
                          .item<int64_t>());
    point.quantizer->set_rounding(weights_[i]->upper());
    context_.points.weight_changed(sites_[i]);
  }
  return changed;
}

NamedTensors BlockReconstruction::state() const {
  NamedTensors state{{"iterations", at::tensor({iterations_}, at::kLong)}};
  for (size_t i = 0; i < sites_.size(); ++i) {
    add_named(context_.model.sites()[static_cast<size_t>(sites_[i])].key() + ".",
              weights_[i]->state(), state);
  }
  return state;
}

void BlockReconstruction::set_state(const NamedTensors& state) {
  iterations_ = stored_tensor(state, "iterations").item<int64_t>();
  for (size_t i = 0; i < sites_.size(); ++i) {
    weights_[i]->set_state(
        part_of(state, context_.model.sites()[static_cast<size_t>(sites_[i])].key() + "."),
        temperature_behind(options_, iterations_));
  }
}

}  // namespace quell
