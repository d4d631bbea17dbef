#include "framework/solve/resumable_pass.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <algorithm>
#include <iterator>

#include "framework/model/gather.h"

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

}  // namespace

ResumablePass::ResumablePass(PipelineContext& context, const Pass& pass,
                             const std::vector<SiteId>& varied, int64_t cache_bytes)
    : context_(context), pass_(pass), cache_bytes_(cache_bytes) {
  const auto& segments = context.model.segments();
  varied_.resize(segments.size());
  for (size_t segment = 0; segment < segments.size(); ++segment) {
    const SiteRange own = context.model.sites_of(segments[segment]);
    std::copy_if(varied.begin(), varied.end(), std::back_inserter(varied_[segment]),
                 [&](SiteId id) { return own.contains(id); });
  }
}

bool ResumablePass::divides_batches() const {
  const std::vector<Site>& sites = context_.model.sites();
  for (size_t id = 0; id < sites.size(); ++id) {
    if (sites[id].heads > 0 && pass_.needs_equal_widths(static_cast<SiteId>(id))) return false;
  }
  return true;
}

ResumablePass::Setting ResumablePass::current_setting() const {
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

Batch ResumablePass::batch_of(Group group) const {
  const Unit& first = units_[group.front()].unit;
  if (first.sequence < 0) return context_.calibration[first.batch];
  std::vector<BatchSequence> chosen;
  for (const size_t index : group) {
    chosen.push_back({units_[index].unit.batch, units_[index].unit.sequence});
  }
  return gather(context_.calibration, chosen);
}

// The first segment that quantizes otherwise than when the unit ran last.
size_t ResumablePass::first_changed(const Visited& unit, const Setting& setting) const {
  if (unit.last == nullptr) return 0;
  const auto changed = std::mismatch(setting.begin(), setting.end(), unit.last->begin());
  return std::min<size_t>(changed.first - setting.begin(), varied_.size() - 1);
}

// The last one from which all of a group can go on.
size_t ResumablePass::first_segment(Group group, const Setting& setting) const {
  size_t first = varied_.size() - 1;
  for (const size_t index : group) first = std::min(first, first_changed(units_[index], setting));
  const auto all_kept = [&](size_t segment) {
    return std::all_of(group.begin(), group.end(), [&](size_t index) {
      return segment < units_[index].states.size() && units_[index].states[segment].has_value();
    });
  };
  while (first > 0 && !all_kept(first)) --first;
  return first;
}

State ResumablePass::entered(Group group, size_t segment) const {
  State state;
  if (segment == 0) return state;
  std::vector<Rows> rows, memory;
  for (const size_t index : group) {
    rows.push_back(units_[index].states[segment]->rows);
    memory.push_back(units_[index].states[segment]->memory);
  }
  state.rows = joined(rows);
  state.memory = joined(memory);
  return state;
}

std::vector<Outputs> ResumablePass::run(Group group, const Setting& setting) {
  const at::NoGradGuard no_gradients;  // threads have a mode of their own
  const auto& segments = context_.model.segments();
  const ModelInput input = context_.model.bind(batch_of(group));
  const size_t first = first_segment(group, setting);
  State state = entered(group, first);
  for (size_t i = first; i < segments.size(); ++i) {
    if (i > first) keep(group, i, state, input.batch);
    segments[i].run(state, input, pass_);
  }
  for (const size_t index : group) units_[index].last = &setting;
  sequences_ += input.batch.sequences();
  resumed_ += static_cast<int64_t>(first);
  segments_ += static_cast<int64_t>(segments.size() - first);
  if (units_[group.front()].unit.sequence < 0) return {std::move(state.outputs)};
  std::vector<Outputs> outputs(group.size());
  for (const auto& [name, output] : state.outputs) {
    for (size_t i = 0; i < group.size(); ++i) {
      outputs[i][name] = output.narrow(0, static_cast<int64_t>(i), 1);
    }
  }
  return outputs;
}

void ResumablePass::keep(Group group, size_t segment, const State& state, const Batch& batch) {
  for (size_t i = 0; i < group.size(); ++i) {
    Visited& unit = units_[group[i]];
    const bool is_sequence = unit.unit.sequence >= 0;
    State part = state;
    if (is_sequence) {
      part.rows = rows_of(state.rows, batch, static_cast<int64_t>(i));
      part.memory = rows_of(state.memory, batch, static_cast<int64_t>(i));
    }
    unit.states.resize(varied_.size());
    std::optional<State>& place = unit.states[segment];
    if (!place) {  // what is there already is replaced by as much
      const int64_t bytes = bytes_of(part);
      if (cache_bytes_.fetch_sub(bytes) < bytes) {
        cache_bytes_ += bytes;
        continue;
      }
    }
    // A part of its own, so that it does not hold the rows of the others.
    if (is_sequence) {
      part.rows.values = part.rows.values.clone();
      if (part.memory.values.defined()) part.memory.values = part.memory.values.clone();
    }
    place = std::move(part);
  }
}

}  // namespace quell
