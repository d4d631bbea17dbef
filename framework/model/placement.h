// A model on several devices, by blocks: which segment runs where, and the way from one to another.
#pragma once

#include <c10/core/Device.h>
#include <cstddef>
#include <deque>
#include <vector>

#include "framework/model/model.h"

namespace quell {

// For each segment the device, of so many, that it runs on: neighbours together, about equal bytes
// of tensors on each. A segment with a tensor of an earlier one goes where that is.
std::vector<size_t> share_out(const std::deque<Segment>& segments, size_t devices);

// Moves everything but the batch, which stays on the host.
void move_to(at::Device device, ModelInput& input);

// Gives segments their devices: they and what searches run of them take what reaches them there.
void place_segments(const std::vector<at::Device>& devices, std::deque<Segment>& segments,
                    Graph& graph);

}  // namespace quell
