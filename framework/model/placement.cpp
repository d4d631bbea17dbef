#include "framework/model/placement.h"

#include <c10/util/accumulate.h>
#include <algorithm>
#include <map>
#include <numeric>
#include <string>
#include <utility>

namespace quell {
namespace {

// Elements of its tensors: all are float.
double size_of(const Segment& segment) {
  double size = 0;
  for (const ModelTensor& tensor : segment.tensors) {
    size += static_cast<double>(c10::multiply_integers(tensor.stored.shape));
  }
  return size;
}

void move_to(at::Device device, Rows& rows) {
  if (rows.values.defined()) rows.values = rows.values.to(device);
}

void move_to(at::Device device, State& state) {
  move_to(device, state.rows);
  move_to(device, state.memory);
}

LocalOutput on_device(LocalOutput output, at::Device device) {
  if (!output) return output;
  return [output = std::move(output), device](Rows rows, State state, const ModelInput& input,
                                              const Pass& pass) {
    move_to(device, rows);
    move_to(device, state);
    return output(rows, state, input.on(device), pass);
  };
}

}  // namespace

std::vector<size_t> share_out(const std::deque<Segment>& segments, size_t devices) {
  std::vector<double> sizes;
  for (const Segment& segment : segments) sizes.push_back(size_of(segment));
  const double share =
      std::accumulate(sizes.begin(), sizes.end(), 0.0) / static_cast<double>(devices);
  std::vector<size_t> result;
  std::map<std::string, size_t> place_of;  // of tensors
  double in_front = 0;
  for (size_t i = 0; i < segments.size(); ++i) {
    size_t place = std::min(devices - 1, static_cast<size_t>(in_front / share));
    for (const ModelTensor& tensor : segments[i].tensors) {
      const auto known = place_of.find(tensor.stored.tied_to);
      if (known != place_of.end()) place = known->second;
    }
    for (const ModelTensor& tensor : segments[i].tensors) {
      place_of[tensor.stored.name] = place;
      if (!tensor.stored.tied_to.empty()) place_of[tensor.stored.tied_to] = place;
    }
    result.push_back(place);
    in_front += sizes[i];
  }
  return result;
}

void move_to(at::Device device, ModelInput& input) {
  if (device.is_cpu()) return;
  for (at::Tensor* tensor : {&input.token_ids, &input.segment_ids, &input.scored_ids,
                             &input.position_ids, &input.target_ids, &input.target_position_ids,
                             &input.first_rows, &input.rotary.cosines, &input.rotary.sines}) {
    if (tensor->defined()) *tensor = tensor->to(device);
  }
  if (input.target_attention == nullptr || !input.target_attention->key_rows.defined()) return;
  auto spans = std::make_shared<AttentionSpans>(*input.target_attention);
  spans->key_rows = spans->key_rows.to(device);
  input.target_attention = std::move(spans);
}

void place_segments(const std::vector<at::Device>& devices, std::deque<Segment>& segments,
                    Graph& graph) {
  const std::vector<size_t> places = share_out(segments, devices.size());
  std::map<const at::Tensor*, at::Device> device_of;
  for (size_t i = 0; i < segments.size(); ++i) {
    Segment& segment = segments[i];
    segment.device = devices[places[i]];
    for (const ModelTensor& tensor : segment.tensors) {
      device_of.emplace(tensor.place, segment.device);
    }
    if (devices.size() == 1) continue;  // everything is there
    segment.run = [run = std::move(segment.run), device = segment.device](
                      State& state, const ModelInput& input, const Pass& pass) {
      move_to(device, state);
      run(state, input.on(device), pass);
    };
  }
  if (devices.size() == 1) return;
  for (ScaleGroup& group : graph.groups) {
    if (group.readers.empty()) continue;
    const at::Device device = device_of.at(&group.readers.front()->weight);
    group.local = on_device(std::move(group.local), device);
    group.combined = on_device(std::move(group.combined), device);
  }
}

}  // namespace quell
