#include "framework/solve/output_loss.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/mse_loss.h>
#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <numeric>

#include "framework/base/error.h"
#include "framework/quant/parallel.h"
#include "framework/train/loss.h"

namespace quell {

OutputLoss::OutputLoss(PipelineContext& context, const Pass& pass, std::vector<Outputs> targets,
                       const std::vector<SiteId>& varied, const Options& options,
                       std::vector<float> replay)
    : context_(context),
      options_(options),
      network_(context, pass, varied, options.cache_bytes),
      targets_(std::move(targets)),
      replay_(std::move(replay)) {
  for (size_t batch = 0; batch < targets_.size(); ++batch) add_units(batch);
  first_unit_.push_back(network_.size());
  added_.resize(network_.size());
}

void OutputLoss::add_units(size_t index) {
  first_unit_.push_back(network_.size());
  const Batch& batch = context_.calibration[index];
  const Outputs& targets = targets_[index];
  const bool divisible = !batch.decoder_token_ids.defined() && network_.divides_batches() &&
                         std::all_of(targets.begin(), targets.end(), [&](const auto& target) {
                           return target.second.size(0) == batch.sequences();
                         });
  if (!divisible) network_.add({index});
  for (int64_t i = 0; divisible && i < batch.sequences(); ++i) network_.add({index, i});
}

OutputLoss::Known& OutputLoss::known_of(const Setting& setting) {
  const auto [entry, is_new] = known_.try_emplace(setting);
  Known& known = entry->second;
  if (!is_new) return known;
  known.setting = &entry->first;
  known.counted.resize(network_.size());
  known.shares.resize(network_.size());
  known.outputs.resize(network_.size());
  known.losses.resize(targets_.size());
  for (size_t batch = 0; batch < targets_.size(); ++batch) {
    known.missing.push_back(static_cast<int64_t>(first_unit_[batch + 1] - first_unit_[batch]));
  }
  return known;
}

// Unknown ones first, then those that add much: whoever has to give up does so early.
std::vector<size_t> OutputLoss::order_of_rest(const Known& known) const {
  std::vector<size_t> order;
  for (size_t unit = 0; unit < network_.size(); ++unit) {
    if (!known.counted[unit]) order.push_back(unit);
  }
  const auto mean = [&](size_t index) {
    const Added& added = added_[index];
    return added.count > 0 ? added.sum / static_cast<float>(added.count)
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
  const auto is_sequence = [&](size_t unit) { return network_.unit(unit).sequence >= 0; };
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
    Added& added = added_[group[i]];
    const float share = found.shares[i];
    known.counted[group[i]] = true;
    known.shares[group[i]] = share;
    if (!found.outputs.empty()) known.outputs[group[i]] = std::move(found.outputs[i]);
    losses_.push_back(share);
    if (std::isfinite(share)) {
      added.sum += share;
      ++added.count;
    }
    --known.missing[network_.unit(group[i]).batch];
  }
  for (const size_t index : group) {
    const size_t batch = network_.unit(index).batch;
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
  if (network_.unit(begin).sequence < 0) return known.shares[begin];
  if (losses_.size() < replay_.size()) {
    losses_.push_back(replay_[losses_.size()]);
    return losses_.back();
  }
  std::vector<size_t> units(end - begin);
  std::iota(units.begin(), units.end(), begin);
  // A share that was replayed has no outputs.
  if (std::any_of(units.begin(), units.end(),
                  [&](size_t unit) { return known.outputs[unit].empty(); })) {
    std::vector<Outputs> outputs = network_.run(units, *known.setting);
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
  Known& known = known_of(network_.current_setting());
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
  Shares result{{}, network_.run(group, setting)};
  for (size_t i = 0; i < group.size(); ++i) {
    const ResumablePass::Unit& unit = network_.unit(group[i]);
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

}  // namespace quell
