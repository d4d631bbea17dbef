// One pass over x and dy, with the partial sums of reduce.h.
#include <cstdint>

#include "framework/kernels/cuda.h"
#include "framework/kernels/cuda/elements.h"
#include "framework/kernels/cuda/reduce.h"

namespace quell::kernels::cuda {
namespace {

struct Gradient {
  using Sum = GradientSums;
  struct Channel {
    float scale, zero_point;
  };
  template <int width>
  struct Values {
    Pack<width> x, dy;
  };

  const float* x;
  const float* dy;
  float* dx;
  const float* scale;
  const float* zero_point;
  Levels levels;
  float* dscale;
  float* dzero_point;

  __device__ Channel channel(int64_t c) const { return {scale[c], zero_point[c]}; }
  template <int width, bool whole>
  __device__ Values<width> load(int64_t i, int count) const {
    return {cuda::load<width, whole>(x + i, count), cuda::load<width, whole>(dy + i, count)};
  }
  // dx takes the place of dy.
  template <class Loaded>
  __device__ void take(Loaded& values, int j, const Channel& of, Sum& sums) const {
    values.dy.value[j] =
        gradient_of(values.x.value[j], values.dy.value[j], of.scale, of.zero_point, levels, sums);
  }
  template <int width, bool whole>
  __device__ void store(int64_t i, int count, const Values<width>& values) const {
    cuda::store<width, whole>(dx + i, values.dy, count);
  }
  __device__ void finish(int64_t c, const Sum& sums) const {
    dscale[c] = static_cast<float>(sums.scale);
    dzero_point[c] = static_cast<float>(-sums.outside * scale[c]);
  }
};

}  // namespace

void fake_quantize_gradient(const float* x, const float* dy, float* dx, int64_t outer,
                            int64_t channels, int64_t inner, const float* scale,
                            const float* zero_point, Levels levels, float* dscale,
                            float* dzero_point, void* workspace, void* stream) {
  const Gradient of{x, dy, dx, scale, zero_point, levels, dscale, dzero_point};
  reduce(of, outer, channels, inner, aligned(x) && aligned(dy) && aligned(dx), workspace, stream,
         "the gradient of fake quantization");
}

}  // namespace quell::kernels::cuda
