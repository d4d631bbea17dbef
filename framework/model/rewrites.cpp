#include "framework/model/rewrites.h"

#include <ATen/ops/mul.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>
#include <algorithm>
#include <functional>

#include "framework/base/error.h"

namespace quell {
namespace {

// Whether the tensors of the part that this place belongs to are to be changed.
using Chosen = std::function<bool(const at::Tensor& place)>;

void add_to(at::Tensor& sum, const at::Tensor& more) {
  if (sum.defined()) {
    sum.add_(more);
  } else {
    sum = more.clone();
  }
}

void shift_rows(const ScaleGroup& group, const at::Tensor& shift, const Chosen& chosen) {
  QUELL_ASSERT(group.norm != nullptr, "only a norm takes a shift");
  if (chosen(group.norm->weight)) add_to(group.norm->bias, shift.neg());
  for (Linear* reader : group.readers) {
    if (chosen(reader->weight)) add_to(reader->bias, at::mv(reader->weight, shift));
  }
  for (Shortcut* shortcut : group.shortcuts) {
    if (!chosen(shortcut->scale)) continue;
    add_to(shortcut->shift, shortcut->scale.defined() ? at::mul(shortcut->scale, shift) : shift);
  }
}

void scale_rows(const ScaleGroup& group, const at::Tensor& scale, const Chosen& chosen) {
  if (Norm* norm = group.norm; norm != nullptr && chosen(norm->weight)) {
    norm->weight.div_(scale);
    if (norm->bias.defined()) norm->bias.div_(scale);
  }
  for (Linear* producer : group.producers) {
    if (!chosen(producer->weight)) continue;
    producer->weight.div_(scale.unsqueeze(1));
    if (producer->bias.defined()) producer->bias.div_(scale);
  }
  for (Linear* reader : group.readers) {
    if (chosen(reader->weight)) reader->weight.mul_(scale);
  }
  for (Shortcut* shortcut : group.shortcuts) {
    if (!chosen(shortcut->scale)) continue;
    shortcut->scale = shortcut->scale.defined() ? at::mul(shortcut->scale, scale) : scale.clone();
  }
}

void change_rows(const ScaleGroup& group, const ChannelChange& change, at::Device device,
                 const Chosen& chosen) {
  if (change.shift.defined()) shift_rows(group, change.shift.to(device), chosen);
  if (change.scale.defined()) scale_rows(group, change.scale.to(device), chosen);
}

void forget(SiteId id, SitePoints& points) {
  if (id == kNoSite) return;
  if (SitePoint* point = points.point(id)) point->calibrated = point->spec.is_dynamic();
  points.weight_changed(id);
}

void forget_sites(const ScaleGroup& group, SitePoints& points) {
  forget(group.site, points);
  if (group.norm != nullptr) forget(group.norm->weight_site, points);
  for (const Linear* producer : group.producers) forget(producer->weight_site, points);
  for (const Linear* reader : group.readers) forget(reader->weight_site, points);
}

}  // namespace

Rewrites::Rewrites(Model& model, SitePoints& points) : model_(model), points_(points) {
  for (size_t index = 0; index < model.segments().size(); ++index) {
    for (const ModelTensor& tensor : model.segments()[index].tensors) {
      segment_of_[tensor.place] = index;
    }
  }
}

void Rewrites::add(const ScaleGroup& group, const ChannelChange& change) {
  std::vector<bool> in_memory;
  for (const Segment& segment : model_.segments()) {
    in_memory.push_back(
        std::any_of(segment.tensors.begin(), segment.tensors.end(),
                    [](const ModelTensor& tensor) { return tensor.place->defined(); }));
  }
  change_rows(group, change, model_.device(), [&](const at::Tensor& place) {
    const auto found = segment_of_.find(&place);
    // What no segment fills stays as it is once it is changed.
    return found == segment_of_.end() || in_memory[found->second];
  });
  forget_sites(group, points_);
  const auto index = static_cast<size_t>(&group - groups().data());
  QUELL_ASSERT(index < groups().size(), "a group of the model's graph");
  changes_.push_back({index, change});
}

void Rewrites::redo(size_t segment) const {
  for (const Change& one : changes_) {
    change_rows(groups()[one.group], one.change, model_.device(), [&](const at::Tensor& place) {
      const auto found = segment_of_.find(&place);
      return found != segment_of_.end() && found->second == segment;
    });
  }
}

NamedTensors Rewrites::state(size_t first) const {
  NamedTensors state;
  std::vector<int64_t> changed;
  for (size_t i = first; i < changes_.size(); ++i) {
    const auto& [group, change] = changes_[i];
    const std::string name = std::to_string(changed.size());
    if (change.shift.defined()) state[name + ".shift"] = change.shift;
    if (change.scale.defined()) state[name + ".scale"] = change.scale;
    changed.push_back(static_cast<int64_t>(group));
  }
  state["groups"] = at::tensor(changed, at::kLong);
  return state;
}

void Rewrites::add_all(const NamedTensors& state) {
  const at::Tensor changed = stored_tensor(state, "groups").contiguous();
  const auto find = [&](const std::string& name) {
    const auto found = state.find(name);
    return found == state.end() ? at::Tensor() : found->second;
  };
  for (int64_t i = 0; i < changed.numel(); ++i) {
    const auto group = static_cast<size_t>(changed.const_data_ptr<int64_t>()[i]);
    if (group >= groups().size()) {
      throw DataError(
          fmt::format("what was stored changes group {} of {}: it belongs to another model", group,
                      groups().size()));
    }
    add(groups()[group], {find(fmt::format("{}.shift", i)), find(fmt::format("{}.scale", i))});
  }
}

}  // namespace quell
