// Exact products of integer codes: rows [rows, inputs] of unsigned 8-bit codes times the transpose
// of a weight [outputs, inputs] of signed 8-bit codes, each code less its zero point,
//
//   sum = sum over inputs of (x - x_zero) * (w - w_zero), in int32,
//   y = activation(float(sum) * (x_scale * w_scale) + bias),
//
// every step of the second line rounded to float32, and, where asked for, y on a grid, rounded as
// in fake_quantize.h. Sums are integers, so neither rows, threads nor the route show in any bit,
// nor does the instruction set, but for activations (packed_product.h). One route is there to be
// looked at: it computes what hardware does whose sums of two products saturate.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "framework/kernels/activation.h"
#include "framework/kernels/grid.h"
#include "framework/kernels/parallel.h"

namespace quell::kernels {

// How sums are computed. All are exact but the last; which ones exist depends on the processor, and
// on the codes.
enum class IntegerRoute {
  kWide,   // codes widened to 16 bits, two products in a sum of 32 bits; everywhere, for all codes
  kPairs,  // sums of two or more products in 16 bits, where none of them can overflow (AVX2)
  kDot,    // four products in a sum of 32 bits (VNNI)
  kTiles,  // 16 rows, 16 outputs and 64 inputs at once (AMX)
  // The products of neighbours, inputs 2 i and 2 i + 1 of x and w as they are, in a sum of 16 bits,
  // which ends at -32768 and 32767: VPMADDUBSW, with which libraries multiply where there is no
  // VNNI. Computed everywhere, chosen nowhere.
  kSaturating,
};
const char* to_string(IntegerRoute route);

// How many bits a code of a weight takes in memory.
enum class CodeStorage {
  kBytes,
  // 4 or 6 where that is enough for all of them, else 8. Products unpack them once for all rows; it
  // takes longer to make.
  kFewestBits,
};

// The codes of a weight. Symmetric grids have zero points of 0.
struct IntegerMatrix {
  const int8_t* codes;  // [outputs, inputs]
  int64_t outputs, inputs;
  const float* scale;         // [outputs]
  const int32_t* zero_point;  // [outputs], in [-256, 256]
};

struct FreeBytes {
  void operator()(void* data) const;
};

// The same, laid out as products read it. Copies: the matrix may go. Made for the instruction set
// at hand; products use the same one.
class IntegerWeight {
 public:
  static constexpr int64_t kPanel = 16;          // outputs that lie together
  static constexpr int64_t kMostInputs = 32768;  // so that no sum overflows

  // For rows of codes of at most `most`. By the fastest route that there is, or a given one of
  // routes(), or kSaturating.
  IntegerWeight(const IntegerMatrix& matrix, int32_t most,
                CodeStorage storage = CodeStorage::kBytes);
  IntegerWeight(const IntegerMatrix& matrix, int32_t most, IntegerRoute route,
                CodeStorage storage = CodeStorage::kBytes);
  // Those that this processor has, and that are exact for every such row. Fastest last.
  static std::vector<IntegerRoute> routes(const IntegerMatrix& matrix, int32_t most);

  int64_t outputs() const { return outputs_; }
  int64_t inputs() const { return inputs_; }
  int64_t panels() const { return (outputs_ + kPanel - 1) / kPanel; }
  IntegerRoute route() const { return route_; }
  int bits() const { return bits_; }  // of a code in memory: 4, 6 or 8
  int64_t bytes() const;

  // What products read. A step is that of 4 inputs, or 2 of kWide: of each of kPanel outputs 4
  // bytes; steps_together() are summed up in 16 bits of kPairs, and are read at once of kTiles.
  int64_t steps() const { return steps_; }
  int64_t steps_together() const { return together_; }
  int64_t panel_bytes() const { return steps_ * 4 * kPanel; }
  // Of 8 bits.
  const int8_t* panel(int64_t panel) const;
  // Of fewer: the blocks (narrow_codes.h) of panels whose number is a multiple of kPanelsUnpacked.
  static constexpr int64_t kPanelsUnpacked = 8;
  const uint8_t* narrow_panels(int64_t first) const;
  int64_t codes_of_panel() const { return panel_bytes() / (route_ == IntegerRoute::kWide ? 2 : 1); }
  // [panels * kPanel], 0 behind the last output.
  const float* scale() const { return scale_.data(); }
  const int32_t* zero_point() const { return zero_point_.data(); }
  const int32_t* sums() const { return sums_.data(); }  // of all codes of an output
  bool has_zero_points() const { return has_zero_points_; }

 private:
  void pack(const IntegerMatrix& matrix, int8_t* panels_at) const;
  void pack_in_fewest_bits(const IntegerMatrix& matrix);

  int64_t outputs_, inputs_, steps_ = 0, together_ = 1;
  IntegerRoute route_;
  int bits_ = 8;
  bool has_zero_points_ = false;
  std::vector<float> scale_;
  std::vector<int32_t> zero_point_, sums_;
  std::unique_ptr<int8_t[], FreeBytes> data_;
};

// Codes [rows, inputs], row-major, with one scale and zero point, or with one for each row.
struct IntegerRows {
  const uint8_t* codes;
  int64_t rows;
  const float* scale;
  const float* zero_point;  // integers in [-256, 256]
  bool per_row = false;
};

// A grid for results: codes from 0 to `most`, at most 255.
struct OutputGrid {
  float scale = 1, zero_point = 0, most = 255;
};

struct IntegerOutput {
  float* y = nullptr;        // [rows, outputs]; null: not wanted
  uint8_t* codes = nullptr;  // [rows, outputs] on `grid`, which y, if wanted, has the values of
  OutputGrid grid = {};
  int32_t* sums = nullptr;  // [rows, outputs]; null: not wanted
};

struct IntegerEpilogue {
  const float* bias = nullptr;  // [outputs]; null: there is none
  Activation activation = Activation::kNone;
};

void integer_product(const IntegerRows& x, const IntegerWeight& weight,
                     const IntegerEpilogue& epilogue, const IntegerOutput& output,
                     ParallelFor parallel_for = serial_for);

// The instruction set that these functions use on this machine: "AVX3_DL" has VNNI.
const char* integer_instruction_set();

}  // namespace quell::kernels
