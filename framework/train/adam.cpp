#include "framework/train/adam.h"

#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>
#include <fmt/format.h>
#include <algorithm>
#include <cmath>

#include "framework/base/error.h"
#include "framework/quant/parallel.h"

namespace quell {
namespace {

constexpr int64_t kChunk = 1 << 15;

const at::Tensor& stored(const NamedTensors& state, const std::string& name) {
  const auto found = state.find(name);
  if (found != state.end()) return found->second;
  throw DataError(fmt::format(
      "the stored progress of the training has no \"{}\"; it belongs to another run", name));
}

void restore(at::Tensor target, const NamedTensors& state, const std::string& name) {
  const at::Tensor& values = stored(state, name);
  if (values.numel() != target.numel()) {
    throw DataError(
        fmt::format("the stored progress of the training has {} values for \"{}\", expected {}; it "
                    "belongs to another run",
                    values.numel(), name, target.numel()));
  }
  target.copy_(values.view({-1}));
}

}  // namespace

Adam::Adam(std::vector<TrainedTensor> trained, const AdamOptions& options)
    : trained_(std::move(trained)), options_(options) {
  for (size_t i = 0; i < trained_.size(); ++i) {
    const at::Tensor& tensor = trained_[i].tensor;
    QUELL_ASSERT(tensor.scalar_type() == at::kFloat && tensor.is_contiguous(),
                 "a trained tensor is not contiguous float32");
    const at::Tensor values = tensor.detach().view({-1});
    flat_.push_back({values, at::zeros_like(values), at::zeros_like(values)});
    for (int64_t begin = 0; begin < values.numel(); begin += kChunk) {
      chunks_.push_back({i, begin, std::min(kChunk, values.numel() - begin)});
    }
  }
}

void Adam::step(double learning_rate) {
  ++steps_;
  std::vector<at::Tensor> gradients(trained_.size());
  for (size_t i = 0; i < trained_.size(); ++i) {
    const at::Tensor& gradient = trained_[i].tensor.grad();
    if (gradient.defined()) gradients[i] = gradient.contiguous().view({-1});
  }
  parallel_for(0, static_cast<int64_t>(chunks_.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Chunk& chunk = chunks_[static_cast<size_t>(i)];
      const at::Tensor& gradient = gradients[chunk.tensor];
      if (!gradient.defined()) continue;
      update(chunk, gradient.narrow(0, chunk.begin, chunk.length),
             learning_rate * trained_[chunk.tensor].learning_rate);
    }
  });
}

void Adam::update(const Chunk& chunk, const at::Tensor& gradients, double learning_rate) {
  const auto part = [&](const at::Tensor& all) { return all.narrow(0, chunk.begin, chunk.length); };
  const Flat& flat = flat_[chunk.tensor];
  const double decay = learning_rate * trained_[chunk.tensor].weight_decay;
  const auto steps = static_cast<double>(steps_);
  const double step_size = learning_rate / (1 - std::pow(options_.beta1, steps));
  const double correction = std::sqrt(1 - std::pow(options_.beta2, steps));
  at::Tensor values = part(flat.values), first = part(flat.first), second = part(flat.second);
  if (options_.variant == AdamVariant::kPytorch) {
    if (decay != 0) values.mul_(1 - decay);
    first.lerp_(gradients, 1 - options_.beta1);
    second.mul_(options_.beta2).addcmul_(gradients, gradients, 1 - options_.beta2);
    values.addcdiv_(first, second.sqrt().div_(correction).add_(options_.epsilon), -step_size);
  } else {
    first.mul_(options_.beta1).add_(gradients, 1 - options_.beta1);
    second.mul_(options_.beta2).addcmul_(gradients, gradients, 1 - options_.beta2);
    values.addcdiv_(first, second.sqrt().add_(options_.epsilon), -(step_size * correction));
    if (decay != 0) values.add_(values, -decay);
  }
}

void Adam::clear_gradients() {
  for (TrainedTensor& trained : trained_) trained.tensor.mutable_grad() = at::Tensor();
}

NamedTensors Adam::state() const {
  NamedTensors state;
  state["adam.steps"] = at::tensor({steps_}, at::kLong);
  for (size_t i = 0; i < trained_.size(); ++i) {
    state["adam.first." + trained_[i].name] = flat_[i].first;
    state["adam.second." + trained_[i].name] = flat_[i].second;
  }
  return state;
}

void Adam::set_state(const NamedTensors& state) {
  steps_ = stored(state, "adam.steps").item<int64_t>();
  for (size_t i = 0; i < trained_.size(); ++i) {
    restore(flat_[i].first, state, "adam.first." + trained_[i].name);
    restore(flat_[i].second, state, "adam.second." + trained_[i].name);
  }
}

}  // namespace quell
