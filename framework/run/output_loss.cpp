#include "framework/run/output_loss.h"

#include <ATen/core/grad_mode.h>
#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>

#include "framework/base/error.h"
#include "framework/quant/parallel.h"
#include "framework/train/loss.h"

namespace quell {
namespace {

int64_t bytes_of(const State& state) {
  auto bytes = static_cast<int64_t>(state.rows.nbytes());
  if (state.encoder_rows.defined()) bytes += static_cast<int64_t>(state.encoder_rows.nbytes());
  for (const auto& [name, output] : state.outputs) bytes += static_cast<int64_t>(output.nbytes());
  return bytes;
}

void append(std::vector<float>& values, const at::Tensor& tensor) {
  const at::Tensor dense = tensor.contiguous();
  const float* data = dense.const_data_ptr<float>();
  values.insert(values.end(), data, data + dense.numel());
}

}  // namespace

OutputLoss::OutputLoss(PipelineContext& context, std::vector<Outputs> targets,
                       const std::vector<SiteId>& varied, int64_t cache_bytes,
                       std::vector<float> replay)
    : context_(context),
      targets_(std::move(targets)),
      cache_bytes_(cache_bytes),
      expected_(context.calibration.size()),
      replay_(std::move(replay)) {
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

// Unknown batches first, then those with large losses: whoever has to give up does so early.
std::vector<size_t> OutputLoss::order_of_rest(const Known& known) const {
  std::vector<size_t> order;
  for (size_t batch = 0; batch < known.counted.size(); ++batch) {
    if (!known.counted[batch]) order.push_back(batch);
  }
  const auto mean = [&](size_t batch) {
    const auto& [sum, count] = expected_[batch];
    return count > 0 ? sum / static_cast<float>(count) : std::numeric_limits<float>::infinity();
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return mean(a) > mean(b); });
  return order;
}

// Adds known losses up as far as `order` and `limit` lead, whichever batch was finished first. The
// sum goes in the order of batches: then it is the published one in the end, and never larger
// before, because rounding is monotonic.
void OutputLoss::count(Known& known, const std::vector<size_t>& order, float limit) {
  for (const size_t batch : order) {
    if (known.counted[batch]) continue;
    if (!known.losses[batch] || known.result.loss >= limit) return;
    const float loss = *known.losses[batch];
    known.counted[batch] = true;
    losses_.push_back(loss);
    if (std::isfinite(loss)) {
      expected_[batch].sum += loss;
      ++expected_[batch].count;
    }
    ++known.result.batches;
    known.result.loss = 0;
    for (size_t i = 0; i < known.counted.size(); ++i) {
      if (known.counted[i]) known.result.loss += *known.losses[i];
    }
  }
}

void OutputLoss::replay(Known& known, const std::vector<size_t>& order, float limit) {
  for (const size_t batch : order) {
    if (known.result.loss >= limit || losses_.size() == replay_.size()) return;
    known.losses[batch] = replay_[losses_.size()];
    count(known, order, limit);
  }
}

OutputLoss::Result OutputLoss::evaluate(float limit) {
  const auto setting = std::make_shared<const Setting>(current_setting());
  Known& known = known_[*setting];
  known.losses.resize(trails_.size());
  known.counted.resize(trails_.size());
  const std::vector<size_t> order = order_of_rest(known);
  if (order.empty() || known.result.loss >= limit) {
    ++repeated_;
    return known.result;
  }
  if (losses_.size() < replay_.size()) replay(known, order, limit);
  std::mutex mutex;
  for_each_dynamically(std::ssize(order), [&](int64_t i) {
    const size_t batch = order[static_cast<size_t>(i)];
    {
      const std::lock_guard<std::mutex> lock(mutex);
      count(known, order, limit);
      if (known.losses[batch] || known.result.loss >= limit) return;
    }
    const float loss = run_batch(batch, setting);
    const std::lock_guard<std::mutex> lock(mutex);
    known.losses[batch] = loss;
    count(known, order, limit);
  });
  return known.result;
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
  return output_distance(state.outputs, targets_[index], context_.calibration[index]).item<float>();
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
