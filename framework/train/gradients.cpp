#include "framework/train/gradients.h"

#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <algorithm>

#include "framework/quant/parallel.h"

namespace quell {

double clip_gradients(std::span<const TrainedTensor> trained, double max_norm) {
  std::vector<at::Tensor> gradients;
  for (const TrainedTensor& one : trained) {
    if (one.tensor.grad().defined()) gradients.push_back(one.tensor.grad());
  }
  if (gradients.empty()) return 0;
  std::vector<at::Tensor> norms(gradients.size());
  // Scales are learned on the host: their few norms go to where the others are.
  const auto elsewhere = std::find_if(gradients.begin(), gradients.end(),
                                      [](const at::Tensor& one) { return !one.device().is_cpu(); });
  const at::Device device = elsewhere == gradients.end() ? at::kCPU : elsewhere->device();
  // Each on one thread, so that its sum does not depend on how many there are.
  for_each_dynamically(static_cast<int64_t>(gradients.size()), [&](int64_t i) {
    norms[i] = at::linalg_vector_norm(gradients[i], 2).to(device);
  });
  const auto norm = at::linalg_vector_norm(at::stack(norms), 2).item<float>();
  const float factor = static_cast<float>(max_norm) / (norm + 1e-6F);
  if (max_norm > 0 && factor < 1) {
    for (at::Tensor& gradient : gradients) gradient.mul_(factor);
  }
  return norm;
}

}  // namespace quell
