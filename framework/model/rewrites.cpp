#include "framework/model/rewrites.h"

#include <ATen/ops/mul.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>
#include <algorithm>
#include <functional>
#include <optional>

#include "framework/base/error.h"

namespace quell {
namespace {

// The device of the tensors of the part that this place belongs to; absent: they are not changed.
using Where = std::function<std::optional<at::Device>(const at::Tensor& place)>;

void add_to(at::Tensor& sum, const at::Tensor& more) {
  if (sum.defined()) {
    sum.add_(more);
  } else {
    sum = more.clone();
  }
}

void shift_rows(const ScaleGroup& group, const at::Tensor& shift, const Where& where) {
  QUELL_ASSERT(group.norm != nullptr, "only a norm takes a shift");
  if (const auto device = where(group.norm->weight)) {
    add_to(group.norm->bias, shift.to(*device).neg());
  }
  for (Linear* reader : group.readers) {
    const auto device = where(reader->weight);
    if (device) add_to(reader->bias, at::mv(reader->weight, shift.to(*device)));
  }
  for (Shortcut* shortcut : group.shortcuts) {
    const auto device = where(shortcut->scale);
    if (!device) continue;
    const at::Tensor own = shift.to(*device);
    add_to(shortcut->shift, shortcut->scale.defined() ? at::mul(shortcut->scale, own) : own);
  }
}

void scale_rows(const ScaleGroup& group, const at::Tensor& scale, const Where& where) {
  // The tensor of outputs that is divided, and the bias behind it.
  const auto divide = [&](at::Tensor& weight, at::Tensor& bias) {
    const auto device = where(weight);
    if (!device) return;
    const at::Tensor own = scale.to(*device);
    weight.div_(weight.dim() == 2 ? own.unsqueeze(1) : own);
    if (bias.defined()) bias.div_(own);
  };
  if (group.norm != nullptr) divide(group.norm->weight, group.norm->bias);
  for (Linear* producer : group.producers) divide(producer->weight, producer->bias);
  for (Linear* reader : group.readers) {
    if (const auto device = where(reader->weight)) reader->weight.mul_(scale.to(*device));
  }
  for (Shortcut* shortcut : group.shortcuts) {
    const auto device = where(shortcut->scale);
    if (!device) continue;
    const at::Tensor own = scale.to(*device);
    shortcut->scale = shortcut->scale.defined() ? at::mul(shortcut->scale, own) : own.clone();
  }
}

void change_rows(const ScaleGroup& group, const ChannelChange& change, const Where& where) {
  if (change.shift.defined()) shift_rows(group, change.shift, where);
  if (change.scale.defined()) scale_rows(group, change.scale, where);
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
  change_rows(group, change, [&](const at::Tensor& place) -> std::optional<at::Device> {
    const auto found = segment_of_.find(&place);
    // What no segment fills stays as it is once it is changed.
    if (found == segment_of_.end()) return model_.device();
    if (!in_memory[found->second]) return {};
    return model_.segments()[found->second].device;
  });
  forget_sites(group, points_);
  const auto index = static_cast<size_t>(&group - groups().data());
  QUELL_ASSERT(index < groups().size(), "a group of the model's graph");
  changes_.push_back({index, change});
}

void Rewrites::redo(size_t segment) const {
  for (const Change& one : changes_) {
    change_rows(groups()[one.group], one.change,
                [&](const at::Tensor& place) -> std::optional<at::Device> {
                  const auto found = segment_of_.find(&place);
                  if (found == segment_of_.end() || found->second != segment) return {};
                  return model_.segments()[segment].device;
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
