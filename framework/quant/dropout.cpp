#include "framework/quant/dropout.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/mul.h>

#include "framework/base/draw.h"
#include "framework/base/error.h"
#include "framework/quant/parallel.h"

namespace quell {

void Dropout::start_step(int64_t step) {
  step_ = static_cast<uint64_t>(step);
  masks_ = 0;
}

double Dropout::rate(DropoutPlace place) const {
  switch (place) {
    case DropoutPlace::kHidden:
      return rates_.hidden;
    case DropoutPlace::kAttention:
      return rates_.attention;
    case DropoutPlace::kActivation:
      return rates_.activation;
    case DropoutPlace::kHead:
      return rates_.head;
  }
  QUELL_ASSERT(false, "unhandled place of dropout");
}

at::Tensor Dropout::apply(DropoutPlace place, const at::Tensor& rows) {
  constexpr int64_t kGrain = 1 << 14;
  constexpr uint64_t kLevels = 1 << 24;  // of a draw; a float holds them exactly
  const double dropped = rate(place);
  if (dropped <= 0) return rows;
  const uint64_t key = derived_seed(derived_seed(seed_, step_), masks_++);
  const auto threshold = static_cast<uint64_t>(dropped * static_cast<double>(kLevels));
  const auto kept = static_cast<float>(1 / (1 - dropped));
  at::Tensor mask = at::empty(rows.sizes(), at::kFloat);
  float* values = mask.mutable_data_ptr<float>();
  parallel_for(0, mask.numel(), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const uint64_t draw =
          derived_seed(key, static_cast<uint64_t>(i)) / (UINT64_MAX / kLevels + 1);
      values[i] = draw < threshold ? 0.0F : kept;
    }
  });
  return at::mul(rows, mask.to(rows.device()));
}

}  // namespace quell
