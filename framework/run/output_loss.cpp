#include "framework/run/output_loss.h"

#include <ATen/core/grad_mode.h>
#include <algorithm>
#include <mutex>

#include "framework/base/error.h"
#include "framework/quant/parallel.h"
#include "framework/train/loss.h"

namespace quell {
namespace {

int64_t bytes_of(const State& state) {
  auto bytes = static_cast<int64_t>(state.rows.nbytes());
  for (const auto& [name, output] : state.outputs) bytes += static_cast<int64_t>(output.nbytes());
  return bytes;
}

// In the order of the batches, whichever was finished first: the sum and where it reaches the limit
// must not depend on threads.
OutputLoss::Result sum(const std::vector<std::optional<float>>& losses, float limit) {
  OutputLoss::Result result;
  for (const std::optional<float>& loss : losses) {
    if (!loss || result.loss >= limit) break;
    result.loss += *loss;
    ++result.batches;
  }
  return result;
}

void append(std::vector<float>& values, const at::Tensor& tensor) {
  const at::Tensor dense = tensor.contiguous();
  const float* data = dense.const_data_ptr<float>();
  values.insert(values.end(), data, data + dense.numel());
}

}  // namespace

OutputLoss::OutputLoss(PipelineContext& context, std::vector<Outputs> targets,
                       const std::vector<SiteId>& varied, int64_t cache_bytes)
    : context_(context), targets_(std::move(targets)), cache_bytes_(cache_bytes) {
  const auto segments = context.model.segments();
  varied_.resize(segments.size());
  for (const SiteId id : varied) {
    size_t segment = segments.size() - 1;
    while (segment > 0 && segments[segment].first_site > id) --segment;
    varied_[segment].push_back(id);
  }
  trails_.resize(context.calibration.size());
  for (Trail& trail : trails_) trail.states.resize(segments.size());
}

OutputLoss::Setting OutputLoss::current_setting() const {
  Setting setting(varied_.size());
  for (size_t segment = 0; segment < varied_.size(); ++segment) {
    for (const SiteId id : varied_[segment]) {
      const QuantParameters parameters = context_.quant.point(id)->quantizer->parameters();
      append(setting[segment], parameters.scale);
      append(setting[segment], parameters.zero_point);
      setting[segment].push_back(static_cast<float>(parameters.levels.low));
    }
  }
  return setting;
}

OutputLoss::Result OutputLoss::evaluate(float limit) {
  const auto setting = std::make_shared<const Setting>(current_setting());
  Losses& losses = known_[*setting];
  losses.resize(trails_.size());
  const auto finished = [&] {
    const Result known = sum(losses, limit);
    return known.loss >= limit || known.batches == static_cast<int64_t>(losses.size());
  };
  if (finished()) {
    ++repeated_;
    return sum(losses, limit);
  }
  std::mutex mutex;
  for_each_dynamically(static_cast<int64_t>(trails_.size()), [&](int64_t i) {
    std::optional<float>& place = losses[static_cast<size_t>(i)];
    {
      const std::lock_guard<std::mutex> lock(mutex);
      if (place || finished()) return;
    }
    const float loss = run_batch(static_cast<size_t>(i), setting);
    const std::lock_guard<std::mutex> lock(mutex);
    place = loss;
  });
  return sum(losses, limit);
}

float OutputLoss::run_batch(size_t index, const std::shared_ptr<const Setting>& setting) {
  const at::NoGradGuard no_gradients;  // threads have a mode of their own
  const auto segments = context_.model.segments();
  Trail& trail = trails_[index];
  size_t first = 0;
  if (trail.setting) {
    const auto changed = std::mismatch(setting->begin(), setting->end(), trail.setting->begin());
    first = std::min<size_t>(changed.first - setting->begin(), segments.size() - 1);
    while (first > 0 && !trail.states[first]) --first;
  }
  State state = first > 0 ? *trail.states[first] : State{};
  for (size_t i = first; i < segments.size(); ++i) {
    if (i > first) keep(trail.states[i], state);
    segments[i].run(state, context_.calibration[index], context_.quant);
  }
  trail.setting = setting;
  ++batches_;
  resumed_ += static_cast<int64_t>(first);
  segments_ += static_cast<int64_t>(segments.size() - first);
  return output_distance(state.outputs, targets_[index]).item<float>();
}

void OutputLoss::keep(std::optional<State>& place, const State& state) {
  if (!place) {  // what is there already is replaced by as much
    const int64_t bytes = bytes_of(state);
    if (cache_bytes_.fetch_sub(bytes) < bytes) {
      cache_bytes_ += bytes;
      return;
    }
  }
  place = state;
}

}  // namespace quell
