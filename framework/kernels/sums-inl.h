// Vectors of 16 floats, whatever the width of an instruction set, for kernels that are compiled
// once per instruction set: see highway's rules on "-inl.h" headers for this include guard.
#if defined(QUELL_KERNELS_SUMS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUELL_KERNELS_SUMS_INL_H_
#undef QUELL_KERNELS_SUMS_INL_H_
#else
#define QUELL_KERNELS_SUMS_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace quell::kernels {
namespace HWY_NAMESPACE {

constexpr int64_t kPanel = 16;
using FloatTag = hwy::HWY_NAMESPACE::CappedTag<float, kPanel>;
using Vector = hwy::HWY_NAMESPACE::Vec<FloatTag>;
using IntTag = hwy::HWY_NAMESPACE::RebindToSigned<FloatTag>;
using Sums = hwy::HWY_NAMESPACE::Vec<IntTag>;  // of products of codes
constexpr int64_t kLanes = static_cast<int64_t>(hwy::HWY_NAMESPACE::MaxLanes(FloatTag()));
constexpr int64_t kVectors = kPanel / kLanes;  // of 16 values

// The sum of 16 sums: those 8 apart are added, then those 4 apart, and so on.
inline float sum_by_halves(const Vector* sums) {
  namespace hn = hwy::HWY_NAMESPACE;
  const FloatTag tag;
  HWY_ALIGN float all[kPanel];
  for (int64_t v = 0; v < kVectors; ++v) hn::Store(sums[v], tag, all + v * kLanes);
  for (int64_t half = kPanel / 2; half > 0; half /= 2) {
    for (int64_t i = 0; i < half; ++i) all[i] += all[i + half];
  }
  return all[0];
}

}  // namespace HWY_NAMESPACE
}  // namespace quell::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard
