// What happens to gradients between the backward pass and the optimizer.
#pragma once

#include <span>

#include "framework/train/adam.h"

namespace quell {

// The Euclidean norm of the gradients of all tensors together. Where it exceeds `max_norm`, they
// are scaled down to it; 0: never. The arithmetic of torch.nn.utils.clip_grad_norm_, float32.
double clip_gradients(std::span<const TrainedTensor> trained, double max_norm);

}  // namespace quell
