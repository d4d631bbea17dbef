// How a site is quantized, and what quantization needs to know about its values.
#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <memory>

#include "framework/config/schema.h"
#include "framework/kernels/grid.h"

namespace quell {

class FeatureGroups;

// Which values share one scale. What follows from it is in scale_map.h.
enum class Granularity {
  kTensor,         // all of them
  kChannel,        // those with the same index along QuantSpec::axis
  kToken,          // one row of an activation; computed anew for every row
  kGroup,          // QuantSpec::group_size neighbours in a row; anew for every row of an activation
  kFeatureGroups,  // the features of each of QuantSpec::groups groups, in all rows
};

template <>
struct EnumNames<Granularity> {
  static constexpr std::pair<const char*, Granularity> values[] = {
      {"tensor", Granularity::kTensor},
      {"channel", Granularity::kChannel},
      {"token", Granularity::kToken},
      {"group", Granularity::kGroup},
      {"feature_groups", Granularity::kFeatureGroups}};
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
  int64_t groups = 0;      // of kFeatureGroups
  // Of kFeatureGroups, as many as `groups`; null: neighbours, equally many in each.
  std::shared_ptr<const FeatureGroups> feature_groups;
  kernels::Grid grid = kernels::Grid::kOs;
  bool is_weight = false;

  // Scales follow from the values at hand, in every call; nothing is observed beforehand.
  bool is_dynamic() const {
    return !is_weight && (granularity == Granularity::kToken || granularity == Granularity::kGroup);
  }
};

// Observed extremes, float32 [scales]: one entry per tensor, per channel or per group (ScaleMap).
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

// Smallest and largest value per scale of rows [n, features], or of a vector [n]. NaN where a NaN
// was seen.
Range min_max(const at::Tensor& rows, const QuantSpec& spec);
// Of extremes that were found on the device of some rows.
Range ranges_on_host(const Range& range);

// The published rule of spec.grid. See framework/kernels/grid.h.
QuantParameters parameters_from_range(const Range& range, const QuantSpec& spec);

// Fake-quantizes `rows` with given parameters; in place when asked, else into a new tensor. A
// single scale is that of all values, whatever the granularity; throws DataError where there are
// several, but not as many as the granularity has.
at::Tensor fake_quantize(const at::Tensor& rows, const QuantParameters& parameters,
                         const QuantSpec& spec, bool in_place);

// The dynamic granularities: each token or group by its own range. `used`, unless it is null,
// receives the parameters that follow from them, [tokens * groups of each].
at::Tensor fake_quantize_dynamic(const at::Tensor& rows, const QuantSpec& spec, bool in_place,
                                 QuantParameters* used = nullptr);

}  // namespace quell
