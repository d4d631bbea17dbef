#include "framework/run/output_loss.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/mse_loss.h>
#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <numeric>

#include "framework/base/error.h"
#include "framework/model/gather.h"
#include "framework/quant/parallel.h"
#include "framework/train/loss.h"

namespace quell {
namespace {

int64_t bytes_of(const State& state) {
  auto bytes = static_cast<int64_t>(state.rows.values.nbytes());
  if (state.memory.values.defined()) bytes += static_cast<int64_t>(state.memory.values.nbytes());
  for (const auto& [name, output] : state.outputs) bytes += static_cast<int64_t>(output.nbytes());
  return bytes;
}

void append(std::vector<float>& values, const at::Tensor& tensor) {
  const at::Tensor dense = tensor.contiguous();
  const float* data = dense.const_data_ptr<float>();
  values.insert(values.end(), data, data + dense.numel());
}

// The rows of one sequence: its tokens, or where there is one for each sequence that one.
Rows rows_of(const Rows& rows, const Batch& batch, int64_t sequence) {
  if (!rows.values.defined()) return rows;
  const bool tokens = rows.values.size(0) == batch.tokens();
  return {tokens ? rows.values.narrow(0, batch.offsets[sequence], batch.length(sequence))
                 : rows.values.narrow(0, sequence, 1),
          rows.grid};
}

Rows joined(const std::vector<Rows>& parts) {
  if (parts.size() == 1 || !parts.front().values.defined()) return parts.front();
  std::vector<at::Tensor> values;
  for (const Rows& part : parts) values.push_back(part.values);
  return {at::cat(values), parts.front().grid};
}

// Whether something sees how wide a matrix of attention is, which its batch decides.
bool needs_widths(const std::vector<Site>& sites, const Pass& pass) {
  for (size_t id = 0; id < sites.size(); ++id) {
    if (sites[id].heads > 0 && pass.needs_equal_widths(static_cast<SiteId>(id))) {
      return true;
    }
  }
  return false;
}

}  // namespace

OutputLoss::OutputLoss(PipelineContext& context, const Pass& pass, std::vector<Outputs> targets,
                       const std::vector<SiteId>& varied, const Options& options,
                       std::vector<float> replay)
    : context_(context),
      pass_(pass),
      options_(options),
      targets_(std::move(targets)),
      cache_bytes_(options.cache_bytes),
      replay_(std::move(replay)) {
  const auto& segments = context.model.segments();
  varied_.resize(segments.size());
  for (const SiteId id : varied) {
    size_t segment = segments.size() - 1;
    while (segment > 0 && segments[segment].first_site > id) --segment;
    varied_[segment].push_back(id);
  }
  for (size_t batch = 0; batch < targets_.size(); ++batch) add_units(batch);
  first_unit_.push_back(units_.size());
  for (Unit& unit : units_) unit.states.resize(segments.size());
}

void OutputLoss::add_units(size_t index) {
  first_unit_.push_back(units_.size());
  const Batch& batch = context_.calibration[index];
  const Outputs& targets = targets_[index];
  const bool divisible =
      !batch.decoder_token_ids.defined() && !needs_widths(context_.model.sites(), pass_) &&
      std::all_of(targets.begin(), targets.end(),
                  [&](const auto& target) { return target.second.size(0) == batch.sequences(); });
  if (!divisible) units_.push_back({.batch = index});
  for (int64_t i = 0; divisible && i < batch.sequences(); ++i) units_.push_back({index, i});
}

OutputLoss::Setting OutputLoss::current_setting() const {
  Setting setting(varied_.size());
  for (size_t segment = 0; segment < varied_.size(); ++segment) {
    for (const SiteId id : varied_[segment]) {
      const QuantParameters parameters = context_.points.point(id)->quantizer->parameters();
      append(setting[segment], parameters.scale);
      append(setting[segment], parameters.zero_point);
      setting[segment].push_back(static_cast<float>(parameters.levels.low));
    }
  }
  return setting;
}

OutputLoss::Known& OutputLoss::known_of(const Setting& setting) {
  const auto [entry, is_new] = known_.try_emplace(setting);
  Known& known = entry->second;
  if (!is_new) return known;
  known.setting = &entry->first;
  known.counted.resize(units_.size());
  known.shares.resize(units_.size());
  known.outputs.resize(units_.size());
  known.losses.resize(targets_.size());
  for (size_t batch = 0; batch < targets_.size(); ++batch) {
    known.missing.push_back(static_cast<int64_t>(first_unit_[batch + 1] - first_unit_[batch]));
  }
  return known;
}

// Unknown ones first, then those that add much: whoever has to give up does so early.
std::vector<size_t> OutputLoss::order_of_rest(const Known& known) const {
  std::vector<size_t> order;
  for (size_t unit = 0; unit < units_.size(); ++unit) {
    if (!known.counted[unit]) order.push_back(unit);
  }
  const auto mean = [&](size_t index) {
    const Unit& unit = units_[index];
    return unit.count > 0 ? unit.sum / static_cast<float>(unit.count)
                          : std::numeric_limits<float>::infinity();
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return mean(a) > mean(b); });
  return order;
}

// Whole batches, or some sequences at once; but never few ones, for which matrix products may round
// differently.
std::vector<OutputLoss::Group> OutputLoss::groups_of(const std::vector<size_t>& order) const {
  const auto most = static_cast<size_t>(options_.sequences);
  const auto is_sequence = [&](size_t unit) { return units_[unit].sequence >= 0; };
  std::vector<Group> groups;
  for (Group rest(order); !rest.empty();) {
    size_t count = 1;
    if (is_sequence(rest.front())) {
      const auto end = std::find_if_not(rest.begin(), rest.end(), is_sequence);
      count = static_cast<size_t>(end - rest.begin());
      if (count >= most + most / 2) count = most;
    }
    groups.push_back(rest.first(count));
    rest = rest.subspan(count);
  }
  return groups;
}

void OutputLoss::count(Known& known, Group group, Shares found) {
  for (size_t i = 0; i < group.size(); ++i) {
    Unit& unit = units_[group[i]];
    const float share = found.shares[i];
    known.counted[group[i]] = true;
    known.shares[group[i]] = share;
    if (!found.outputs.empty()) known.outputs[group[i]] = std::move(found.outputs[i]);
    losses_.push_back(share);
    if (std::isfinite(share)) {
      unit.sum += share;
      ++unit.count;
    }
    --known.missing[unit.batch];
  }
  for (const size_t index : group) {
    const size_t batch = units_[index].batch;
    if (known.missing[batch] != 0) continue;
    known.missing[batch] = -1;  // whole
    known.losses[batch] = batch_loss(known, batch);
    ++known.result.batches;
  }
  known.result.loss = sum_of(known);
}

// The published loss of a batch whose units are all counted.
float OutputLoss::batch_loss(Known& known, size_t batch) {
  const size_t begin = first_unit_[batch], end = first_unit_[batch + 1];
  if (units_[begin].sequence < 0) return known.shares[begin];
  if (losses_.size() < replay_.size()) {
    losses_.push_back(replay_[losses_.size()]);
    return losses_.back();
  }
  std::vector<size_t> units(end - begin);
  std::iota(units.begin(), units.end(), begin);
  // A share that was replayed has no outputs.
  if (std::any_of(units.begin(), units.end(),
                  [&](size_t unit) { return known.outputs[unit].empty(); })) {
    std::vector<Outputs> outputs = run(units, *known.setting);
    std::move(outputs.begin(), outputs.end(),
              known.outputs.begin() + static_cast<std::ptrdiff_t>(begin));
  }
  std::map<std::string, std::vector<at::Tensor>> rows;
  for (const size_t unit : units) {
    for (auto& [name, output] : known.outputs[unit]) rows[name].push_back(std::move(output));
    known.outputs[unit].clear();
  }
  Outputs outputs;
  for (const auto& [name, parts] : rows) outputs[name] = at::cat(parts);
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
  bool has_shares = false;
  for (size_t batch = 0; batch < known.losses.size(); ++batch) {
    if (known.missing[batch] < 0) {
      whole += known.losses[batch];
      all += known.losses[batch];
      continue;
    }
    for (size_t unit = first_unit_[batch]; unit < first_unit_[batch + 1]; ++unit) {
      if (!known.counted[unit]) continue;
      all += known.shares[unit];
      has_shares = true;
    }
  }
  if (!has_shares || std::isnan(whole)) return whole;
  // One float32 rounding for each batch, and some dozens within a mean squared error.
  const double rounding = std::ldexp(64.0 + static_cast<double>(known.losses.size()), -23);
  const auto bound = static_cast<float>(all * (1 - rounding));
  return std::isnan(bound) ? bound : std::max(whole, bound);
}

OutputLoss::Shares OutputLoss::replayed(Group group) {
  const auto begin = replay_.begin() + std::ssize(losses_);
  return {{begin, begin + std::ssize(group)}, {}};
}

OutputLoss::Result OutputLoss::evaluate(float limit) {
  Known& known = known_of(current_setting());
  const std::vector<size_t> order = order_of_rest(known);
  // Not for NaN either, which no other losses would change.
  const auto goes_on = [&] { return known.result.loss < limit; };
  if (order.empty() || !goes_on()) {
    ++repeated_;
    return known.result;
  }
  const std::vector<Group> groups = groups_of(order);
  std::mutex mutex;
  // Groups are counted in order, whichever was finished first, and only until the limit is reached.
  std::vector<std::optional<Shares>> finished(groups.size());
  size_t next = 0;
  const auto count_finished = [&] {
    for (; next < groups.size() && goes_on(); ++next) {
      if (losses_.size() < replay_.size()) {
        count(known, groups[next], replayed(groups[next]));
      } else if (finished[next]) {
        count(known, groups[next], *std::move(finished[next]));
      } else {
        return;
      }
    }
  };
  for_each_dynamically(std::ssize(groups), [&](int64_t i) {
    const auto index = static_cast<size_t>(i);
    {
      const std::lock_guard<std::mutex> lock(mutex);
      count_finished();
      if (index < next || !goes_on()) return;
    }
    Shares shares = shares_of(groups[index], *known.setting);
    const std::lock_guard<std::mutex> lock(mutex);
    finished[index] = std::move(shares);
    count_finished();
  });
  return known.result;
}

OutputLoss::Shares OutputLoss::shares_of(Group group, const Setting& setting) {
  Shares result{{}, run(group, setting)};
  for (size_t i = 0; i < group.size(); ++i) {
    const Unit& unit = units_[group[i]];
    const Batch& batch = context_.calibration[unit.batch];
    const Outputs& targets = targets_[unit.batch];
    double share = 0;
    if (unit.sequence < 0) {
      share = output_distance(result.outputs[i], targets, batch).item<double>();
    } else {
      for (const auto& [name, target] : targets) {
        share += at::mse_loss(result.outputs[i].at(name), target.narrow(0, unit.sequence, 1))
                     .item<double>();
      }
      share /= static_cast<double>(batch.sequences());
    }
    result.shares.push_back(static_cast<float>(share));
  }
  return result;
}

Batch OutputLoss::batch_of(Group group) const {
  if (units_[group.front()].sequence < 0) return context_.calibration[units_[group.front()].batch];
  std::vector<BatchSequence> chosen;
  for (const size_t unit : group) chosen.push_back({units_[unit].batch, units_[unit].sequence});
  return gather(context_.calibration, chosen);
}

// The first segment that quantizes otherwise than when the unit ran last.
size_t OutputLoss::first_changed(const Unit& unit, const Setting& setting) const {
  if (unit.setting == nullptr) return 0;
  const auto changed = std::mismatch(setting.begin(), setting.end(), unit.setting->begin());
  return std::min<size_t>(changed.first - setting.begin(), varied_.size() - 1);
}

std::vector<Outputs> OutputLoss::run(Group group, const Setting& setting) {
  const at::NoGradGuard no_gradients;  // threads have a mode of their own
  const auto& segments = context_.model.segments();
  const ModelInput input = context_.model.bind(batch_of(group));
  const Batch& batch = input.batch;
  size_t first = segments.size() - 1;
  for (const size_t unit : group) first = std::min(first, first_changed(units_[unit], setting));
  while (first > 0 && !std::all_of(group.begin(), group.end(), [&](size_t unit) {
           return units_[unit].states[first].has_value();
         })) {
    --first;
  }
  State state;
  if (first > 0) {
    std::vector<Rows> rows, memory;
    for (const size_t unit : group) {
      rows.push_back(units_[unit].states[first]->rows);
      memory.push_back(units_[unit].states[first]->memory);
    }
    state.rows = joined(rows);
    state.memory = joined(memory);
  }
  for (size_t i = first; i < segments.size(); ++i) {
    if (i > first) keep(group, i, state, batch);
    segments[i].run(state, input, pass_);
  }
  for (const size_t unit : group) units_[unit].setting = &setting;
  sequences_ += batch.sequences();
  resumed_ += static_cast<int64_t>(first);
  segments_ += static_cast<int64_t>(segments.size() - first);
  if (units_[group.front()].sequence < 0) return {std::move(state.outputs)};
  std::vector<Outputs> outputs(group.size());
  for (const auto& [name, output] : state.outputs) {
    for (size_t i = 0; i < group.size(); ++i) {
      outputs[i][name] = output.narrow(0, static_cast<int64_t>(i), 1);
    }
  }
  return outputs;
}

void OutputLoss::keep(Group group, size_t segment, const State& state, const Batch& batch) {
  for (size_t i = 0; i < group.size(); ++i) {
    Unit& unit = units_[group[i]];
    State part = state;
    if (unit.sequence >= 0) {
      part.rows = rows_of(state.rows, batch, static_cast<int64_t>(i));
      part.memory = rows_of(state.memory, batch, static_cast<int64_t>(i));
    }
    std::optional<State>& place = unit.states[segment];
    if (!place) {  // what is there already is replaced by as much
      const int64_t bytes = bytes_of(part);
      if (cache_bytes_.fetch_sub(bytes) < bytes) {
        cache_bytes_ += bytes;
        continue;
      }
    }
    // A part of its own, so that it does not hold the rows of the others.
    if (unit.sequence >= 0) {
      part.rows.values = part.rows.values.clone();
      if (part.memory.values.defined()) part.memory.values = part.memory.values.clone();
    }
    place = std::move(part);
  }
}

}  // namespace quell
