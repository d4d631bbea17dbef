#include "framework/kernels/cuda.h"
#include "framework/kernels/cuda/moments.h"
#include "framework/kernels/cuda/partition.h"

namespace quell::kernels::cuda {

int64_t workspace_bytes(Reduction reduction, int64_t outer, int64_t channels, int64_t inner) {
  const bool range = reduction == Reduction::kRange, gradient = reduction == Reduction::kGradient;
  const int64_t rows = range      ? kRowsPerChunk<Bounds>
                       : gradient ? kRowsPerChunk<GradientSums>
                                  : kRowsPerChunk<PowerSums>;
  const int64_t size = range ? sizeof(Bounds) : gradient ? sizeof(GradientSums) : sizeof(PowerSums);
  const Partition cut = partition(outer, channels, inner, rows);
  return kCounterBytes + (cut.chunks > 1 ? cut.chunks * channels * size : 0);
}

}  // namespace quell::kernels::cuda
