// The integer grids of the three published codes, and how each turns an observed range into a
// scale and a zero point. All arithmetic is float32 in the published order (performance rule 5.7).
#pragma once

namespace quell::kernels {

// kOs: Outlier Suppression. kOsPlus: Outlier Suppression+. kQualcomm: "Understanding and
// Overcoming the Challenges of Efficient Transformer Quantization".
enum class Grid { kOs, kOsPlus, kQualcomm };

// The integer grid: codes low..high.
struct Levels {
  float low;
  float high;
};

struct ScaleZeroPoint {
  float scale;
  float zero_point;
};

// `bits` is 2..16. `signed_range` matters for symmetric kQualcomm only, which drops the negative
// codes when the whole range (of all channels together) has no negative value.
Levels levels(Grid grid, int bits, bool symmetric, bool signed_range = true);

// From a range to a scale and a zero point. Zero is always representable: the range is widened to
// hold it. A bound that is not finite gives a result that is not; the caller reports it.
struct AffineRule {
  Grid grid;
  bool symmetric;
  Levels levels;
};
AffineRule affine_rule(Grid grid, int bits, bool symmetric, bool signed_range = true);
ScaleZeroPoint scale_zero_point(const AffineRule& rule, float min, float max);

// The same for a range that stands alone (not one channel of several): signed iff min < 0.
ScaleZeroPoint scale_zero_point(Grid grid, int bits, bool symmetric, float min, float max);

}  // namespace quell::kernels
