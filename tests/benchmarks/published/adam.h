// Adam (Kingma and Ba 2015) with a learning rate that falls to 0 along half a cosine, in PyTorch's
// order of operations.
#pragma once

#include <ATen/core/Tensor.h>
#include <vector>

namespace quell::published {

class Adam {
 public:
  Adam(std::vector<at::Tensor> parameters, double learning_rate, int64_t all_steps);

  void zero_gradients();
  void step();

 private:
  struct Moments {
    at::Tensor first, second;
  };
  std::vector<at::Tensor> parameters_;
  std::vector<Moments> moments_;
  double learning_rate_;
  int64_t all_steps_, steps_ = 0;
};

}  // namespace quell::published
