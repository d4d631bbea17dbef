// How a site is quantized, and what quantization needs to know about its values.
#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>

#include "framework/config/schema.h"
#include "framework/kernels/grid.h"

namespace quell {

// Which values share one scale.
enum class Granularity {
  kTensor,   // all of them
  kChannel,  // those with the same index along QuantSpec::axis
  kToken,    // one row of an activation; computed anew for every row
  kGroup,    // QuantSpec::group_size neighbours in a row; anew for every row of an activation
};

template <>
struct EnumNames<Granularity> {
  static constexpr std::pair<const char*, Granularity> values[] = {
      {"tensor", Granularity::kTensor},
      {"channel", Granularity::kChannel},
      {"token", Granularity::kToken},
      {"group", Granularity::kGroup}};
};

template <>
struct EnumNames<kernels::Grid> {
  static constexpr std::pair<const char*, kernels::Grid> values[] = {
      {"os", kernels::Grid::kOs},
      {"os_plus", kernels::Grid::kOsPlus},
      {"qualcomm", kernels::Grid::kQualcomm}};
};

struct QuantSpec {
  int64_t bits = 8;  // 2 to 16
  bool symmetric = false;
  Granularity granularity = Granularity::kTensor;
  int64_t axis = 0;        // of kChannel: 0 rows, 1 columns
  int64_t group_size = 0;  // of kGroup
  kernels::Grid grid = kernels::Grid::kOs;
  bool is_weight = false;

  // Scales follow from the values at hand, in every call; nothing is observed beforehand.
  bool is_dynamic() const {
    return !is_weight && (granularity == Granularity::kToken || granularity == Granularity::kGroup);
  }
};

// Observed extremes, float32 [scales]: one entry per tensor, per channel or per group.
struct Range {
  at::Tensor min;
  at::Tensor max;
};

// Parameters of an affine grid, float32 [scales]; integer codes reach from levels.low to .high.
struct QuantParameters {
  at::Tensor scale;
  at::Tensor zero_point;
  kernels::Levels levels{0, 0};
};

// `rows` [n, features] (or a vector [n], read as [n, 1]) seen as [outer, channels, inner] with one
// scale per channel, for the static granularities of `spec`. Throws ConfigError when group_size
// does not divide the features or the axis does not exist.
struct ChannelView {
  int64_t outer = 1;
  int64_t channels = 1;
  int64_t inner = 1;
};
ChannelView channel_view(const at::Tensor& rows, const QuantSpec& spec);

// Smallest and largest value per scale. NaN where a NaN was seen.
Range min_max(const at::Tensor& rows, const QuantSpec& spec);

// The published rule of spec.grid. See framework/kernels/grid.h.
QuantParameters parameters_from_range(const Range& range, const QuantSpec& spec);

// Fake-quantizes `rows` with given parameters; in place when asked, else into a new tensor.
at::Tensor fake_quantize(const at::Tensor& rows, const QuantParameters& parameters,
                         const QuantSpec& spec, bool in_place);

// The dynamic granularities: each token or group by its own range. `used`, unless it is null,
// receives the parameters that follow from them, [tokens * groups].
at::Tensor fake_quantize_dynamic(const at::Tensor& rows, const QuantSpec& spec, bool in_place,
                                 QuantParameters* used = nullptr);

}  // namespace quell
