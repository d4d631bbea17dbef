// The search for the range of least squared error over ranges and zero points (Outlier Suppression,
// MSEObserver): 100 ranges times 2^bits zero points, one by one as published, and quell's.
#pragma once

#include <ATen/core/Tensor.h>

#include "framework/plugin/registry.h"
#include "tests/benchmarks/published/clock.h"

namespace quell::published {

struct MseSearch {
  int64_t candidates = 0, timed = 0;
  Time eager;  // of all candidates: `timed` of them, scaled
  Time ours;
  double eager_loss = 0;       // the published loss at quell's range
  double best_timed_loss = 0;  // the least published loss of the timed candidates
};

// On `rows` [tokens, features], asymmetric, per tensor.
MseSearch search_mse(const at::Tensor& rows, int64_t bits, int64_t timed_candidates,
                     const Plugins& plugins);

}  // namespace quell::published
