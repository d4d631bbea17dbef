#include "framework/run/output_loss.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>

#include "framework/base/error.h"
#include "framework/model/batch_part.h"
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

bool belong_to_sequences(const Outputs& outputs, const Batch& batch) {
  return !batch.decoder_token_ids.defined() &&
         std::all_of(outputs.begin(), outputs.end(), [&](const auto& output) {
           return output.second.size(0) == batch.sequences();
         });
}

}  // namespace

OutputLoss::OutputLoss(PipelineContext& context, std::vector<Outputs> targets,
                       const std::vector<SiteId>& varied, const Options& options,
                       std::vector<float> replay)
    : context_(context),
      targets_(std::move(targets)),
      cache_bytes_(options.cache_bytes),
      replay_(std::move(replay)) {
  const auto segments = context.model.segments();
  varied_.resize(segments.size());
  for (const SiteId id : varied) {
    size_t segment = segments.size() - 1;
    while (segment > 0 && segments[segment].first_site > id) --segment;
    varied_[segment].push_back(id);
  }
  for (size_t i = 0; i < context.calibration.size(); ++i) split(i, options.sequences);
  first_part_.push_back(parts_.size());
  for (Part& part : parts_) part.trail.states.resize(segments.size());
}

void OutputLoss::split(size_t index, int64_t sequences) {
  const Batch& batch = context_.calibration[index];
  first_part_.push_back(parts_.size());
  if (!belong_to_sequences(targets_[index], batch)) {
    parts_.push_back({.of = index, .batch = batch, .targets = targets_[index]});
    return;
  }
  for (int64_t first = 0; first < batch.sequences(); first += sequences) {
    const int64_t count = std::min(sequences, batch.sequences() - first);
    Part part{.of = index, .batch = part_of(batch, first, count)};
    for (const auto& [name, target] : targets_[index]) {
      part.targets[name] = target.narrow(0, first, count);
    }
    part.weight = static_cast<double>(count) / static_cast<double>(batch.sequences());
    parts_.push_back(std::move(part));
  }
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

OutputLoss::Known& OutputLoss::known_of(const Setting& setting) {
  Known& known = known_[setting];
  if (!known.setting) {
    known.setting = std::make_shared<const Setting>(setting);
    known.shares.resize(parts_.size());
    known.outputs.resize(parts_.size());
    known.counted.resize(parts_.size());
    known.losses.resize(targets_.size());
    for (size_t batch = 0; batch < targets_.size(); ++batch) {
      known.missing.push_back(static_cast<int64_t>(first_part_[batch + 1] - first_part_[batch]));
    }
  }
  return known;
}

// Unknown parts first, then those with large losses: whoever has to give up does so early.
std::vector<size_t> OutputLoss::order_of_rest(const Known& known) const {
  std::vector<size_t> order;
  for (size_t part = 0; part < parts_.size(); ++part) {
    if (!known.counted[part]) order.push_back(part);
  }
  const auto mean = [&](size_t part) {
    const auto& [sum, count] = parts_[part].added;
    return count > 0 ? sum / static_cast<float>(count) : std::numeric_limits<float>::infinity();
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return mean(a) > mean(b); });
  return order;
}

// Adds known losses up as far as `order` and `limit` lead, whichever part was finished first.
void OutputLoss::count(Known& known, const std::vector<size_t>& order, float limit) {
  for (const size_t index : order) {
    if (known.counted[index]) continue;
    if (!known.shares[index] || known.result.loss >= limit) return;
    Part& part = parts_[index];
    const float share = *known.shares[index];
    known.counted[index] = true;
    losses_.push_back(share);
    if (std::isfinite(share)) {
      part.added.sum += share;
      ++part.added.count;
    }
    if (--known.missing[part.of] == 0) {
      known.losses[part.of] = batch_loss(known, part.of);
      ++known.result.batches;
    }
    known.result.loss = sum_of(known);
  }
}

// The published loss of a batch, all parts of which are counted.
float OutputLoss::batch_loss(Known& known, size_t batch) {
  const size_t begin = first_part_[batch], end = first_part_[batch + 1];
  if (end - begin == 1) return losses_.back();
  if (losses_.size() < replay_.size()) {
    losses_.push_back(replay_[losses_.size()]);
    return losses_.back();
  }
  std::map<std::string, std::vector<at::Tensor>> pieces;
  for (size_t i = begin; i < end; ++i) {
    // A share that was replayed has no outputs.
    if (known.outputs[i].empty()) known.outputs[i] = run(parts_[i], known.setting);
    for (auto& [name, output] : known.outputs[i]) pieces[name].push_back(std::move(output));
    known.outputs[i].clear();
  }
  Outputs outputs;
  for (const auto& [name, tensors] : pieces) outputs[name] = at::cat(tensors);
  losses_.push_back(
      output_distance(outputs, targets_[batch], context_.calibration[batch]).item<float>());
  return losses_.back();
}

// Losses of whole batches are added in the order of batches: then the sum is the published one in
// the end, and never larger before, because rounding is monotonic. Shares of other batches count a
// little less than their sum, which rounds differently.
float OutputLoss::sum_of(const Known& known) const {
  float whole = 0;
  double all = 0;
  bool has_parts = false;
  for (size_t batch = 0; batch < known.losses.size(); ++batch) {
    if (known.missing[batch] == 0) {
      whole += known.losses[batch];
      all += known.losses[batch];
      continue;
    }
    for (size_t part = first_part_[batch]; part < first_part_[batch + 1]; ++part) {
      if (!known.counted[part]) continue;
      all += *known.shares[part];
      has_parts = true;
    }
  }
  if (!has_parts || std::isnan(whole)) return whole;
  // One float32 rounding for each batch, and some dozens within a mean squared error.
  const double rounding = std::ldexp(64.0 + static_cast<double>(known.losses.size()), -23);
  const auto bound = static_cast<float>(all * (1 - rounding));
  return std::isnan(bound) ? bound : std::max(whole, bound);
}

void OutputLoss::replay(Known& known, const std::vector<size_t>& order, float limit) {
  for (const size_t part : order) {
    if (known.result.loss >= limit || losses_.size() >= replay_.size()) return;
    known.shares[part] = replay_[losses_.size()];
    count(known, order, limit);
  }
}

OutputLoss::Result OutputLoss::evaluate(float limit) {
  Known& known = known_of(current_setting());
  const std::vector<size_t> order = order_of_rest(known);
  if (order.empty() || known.result.loss >= limit) {
    ++repeated_;
    return known.result;
  }
  if (losses_.size() < replay_.size()) replay(known, order, limit);
  std::mutex mutex;
  for_each_dynamically(std::ssize(order), [&](int64_t i) {
    const size_t index = order[static_cast<size_t>(i)];
    {
      const std::lock_guard<std::mutex> lock(mutex);
      count(known, order, limit);
      if (known.shares[index] || known.result.loss >= limit) return;
    }
    Part& part = parts_[index];
    Outputs outputs = run(part, known.setting);
    const double distance = output_distance(outputs, part.targets, part.batch).item<double>();
    const std::lock_guard<std::mutex> lock(mutex);
    known.shares[index] = static_cast<float>(distance * part.weight);
    known.outputs[index] = std::move(outputs);
    count(known, order, limit);
  });
  return known.result;
}

Outputs OutputLoss::run(Part& part, const std::shared_ptr<const Setting>& setting) {
  const at::NoGradGuard no_gradients;  // threads have a mode of their own
  const auto segments = context_.model.segments();
  Trail& trail = part.trail;
  size_t first = 0;
  if (trail.setting) {
    const auto changed = std::mismatch(setting->begin(), setting->end(), trail.setting->begin());
    first = std::min<size_t>(changed.first - setting->begin(), segments.size() - 1);
    while (first > 0 && !trail.states[first]) --first;
  }
  State state = first > 0 ? *trail.states[first] : State{};
  for (size_t i = first; i < segments.size(); ++i) {
    if (i > first) keep(trail.states[i], state);
    segments[i].run(state, part.batch, context_.quant);
  }
  trail.setting = setting;
  sequences_ += part.batch.sequences();
  resumed_ += static_cast<int64_t>(first);
  segments_ += static_cast<int64_t>(segments.size() - first);
  return std::move(state.outputs);
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
