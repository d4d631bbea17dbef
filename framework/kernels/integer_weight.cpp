#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <numeric>

#include "framework/kernels/amx.h"
#include "framework/kernels/integer_parts.h"
#include "framework/kernels/integer_product.h"
#include "framework/kernels/narrow_codes.h"

namespace quell::kernels {
namespace {

constexpr int64_t kMostTogether = 8;  // steps that are summed up in 16 bits
constexpr int64_t kInputsOfStep = 4;

// The largest sum, without its sign, that 16 bits must hold where `together` steps of pairs are
// added: as large as all positive or all negative codes make it.
int64_t largest_sum(const IntegerMatrix& of, int32_t most, int64_t together) {
  const int64_t block = together * kInputsOfStep;
  int64_t largest = 0;
  for (int64_t o = 0; o < of.outputs; ++o) {
    const int8_t* row = of.codes + o * of.inputs;
    for (int64_t first = 0; first < of.inputs; first += block) {
      int64_t up[2] = {}, down[2] = {};  // by the pair of a step
      for (int64_t k = first; k < std::min(of.inputs, first + block); ++k) {
        const int64_t pair = k % kInputsOfStep / 2;
        (row[k] > 0 ? up : down)[pair] += std::abs(static_cast<int64_t>(row[k]));
      }
      for (const int64_t pair : {0, 1}) {
        // The negative end of 16 bits is one further from zero, which is left unused.
        largest = std::max({largest, up[pair] * most, down[pair] * most});
      }
    }
  }
  return largest;
}

}  // namespace

int64_t steps_in_16_bits(const IntegerMatrix& of, int32_t most) {
  constexpr int64_t kLargest = 32767;
  for (int64_t together = kMostTogether; together > 0; together /= 2) {
    if (largest_sum(of, most, together) <= kLargest) return together;
  }
  return 0;
}

void* aligned_bytes(int64_t bytes) {
  constexpr int64_t kAlignment = 64;  // a cache line, and the widest vector
  const int64_t lines = ceiling(std::max<int64_t>(bytes, 1), kAlignment);
  void* data = std::aligned_alloc(kAlignment, static_cast<size_t>(lines * kAlignment));
  if (data == nullptr) throw std::bad_alloc();
  return data;
}

void FreeBytes::operator()(void* data) const { std::free(data); }

IntegerWeight::IntegerWeight(const IntegerMatrix& matrix, int32_t most, IntegerRoute route,
                             CodeStorage storage)
    : outputs_(matrix.outputs), inputs_(matrix.inputs), route_(route) {
  if (route == IntegerRoute::kPairs) together_ = steps_in_16_bits(matrix, most);
  if (route == IntegerRoute::kTiles) together_ = amx::kTileInputs / kInputsOfStep;
  const int64_t of_step = route == IntegerRoute::kWide ? 2 : kInputsOfStep;
  steps_ = ceiling(inputs_, of_step * together_) * together_;
  const auto padded = static_cast<size_t>(panels() * kPanel);
  scale_.resize(padded);
  zero_point_.resize(padded);
  sums_.resize(padded);
  std::copy(matrix.scale, matrix.scale + outputs_, scale_.begin());
  std::copy(matrix.zero_point, matrix.zero_point + outputs_, zero_point_.begin());
  has_zero_points_ = std::any_of(zero_point_.begin(), zero_point_.end(),
                                 [](int32_t zero_point) { return zero_point != 0; });
  for (int64_t o = 0; o < outputs_; ++o) {
    const int8_t* row = matrix.codes + o * inputs_;
    sums_[static_cast<size_t>(o)] = std::accumulate(row, row + inputs_, int32_t{0});
  }
  if (storage == CodeStorage::kFewestBits) bits_ = narrow_bits(matrix.codes, outputs_ * inputs_);
  if (bits_ < 8) {
    pack_in_fewest_bits(matrix);
  } else {
    data_.reset(static_cast<int8_t*>(aligned_bytes(panels() * panel_bytes())));
    pack(matrix, data_.get());
  }
}

void IntegerWeight::pack_in_fewest_bits(const IntegerMatrix& matrix) {
  const int64_t codes = panels() * codes_of_panel();
  const std::unique_ptr<int8_t[], FreeBytes> wide(
      static_cast<int8_t*>(aligned_bytes(panels() * panel_bytes())));
  pack(matrix, wide.get());
  if (route_ == IntegerRoute::kWide) {  // the low bytes
    for (int64_t i = 0; i < codes; ++i) wide[i] = wide[2 * i];
  }
  data_.reset(static_cast<int8_t*>(aligned_bytes(narrow_bytes(codes, bits_))));
  pack_narrow(wide.get(), codes, bits_, reinterpret_cast<uint8_t*>(data_.get()));
}

// Of each panel step by step, and of each step the inputs of one output after another, four bytes.
// Rows are read by cache lines.
void IntegerWeight::pack(const IntegerMatrix& matrix, int8_t* panels_at) const {
  constexpr int64_t kBytes = 4, kStepsOfLine = 16;
  const bool widens = route_ == IntegerRoute::kWide;
  const int64_t of_step = widens ? 2 : kInputsOfStep;
  std::memset(panels_at, 0, static_cast<size_t>(panels() * panel_bytes()));
  const auto put = [&](int64_t o, int64_t step) {
    int8_t* to = panels_at + ((o / kPanel * steps_ + step) * kPanel + o % kPanel) * kBytes;
    const int64_t first = step * of_step, count = std::min(of_step, inputs_ - first);
    const int8_t* codes = matrix.codes + o * inputs_ + first;
    if (!widens && count == kBytes) {
      std::memcpy(to, codes, kBytes);
      return;
    }
    for (int64_t i = 0; i < count; ++i) {
      const int16_t wide_code = codes[i];  // the low byte comes first
      std::memcpy(to + (widens ? 2 * i : i), &wide_code, widens ? 2 : 1);
    }
  };
  for (int64_t first = 0; first < outputs_; first += kPanel) {
    const int64_t end = std::min(first + kPanel, outputs_);
    for (int64_t line = 0; line < steps_; line += kStepsOfLine) {
      for (int64_t o = first; o < end; ++o) {
        for (int64_t step = line; step < std::min(line + kStepsOfLine, steps_); ++step) {
          put(o, step);
        }
      }
    }
  }
}

int64_t IntegerWeight::bytes() const {
  constexpr int64_t kOfOutput = sizeof(float) + 2 * sizeof(int32_t);  // scale, zero point, sum
  const int64_t codes =
      bits_ < 8 ? narrow_bytes(panels() * codes_of_panel(), bits_) : panels() * panel_bytes();
  return codes + panels() * kPanel * kOfOutput;
}

const int8_t* IntegerWeight::panel(int64_t panel) const {
  return data_.get() + panel * panel_bytes();
}

const uint8_t* IntegerWeight::narrow_panels(int64_t first) const {
  static_assert(kPanelsUnpacked * kPanel * 2 % kNarrowBlock == 0, "a step's codes, at least");
  return reinterpret_cast<const uint8_t*>(data_.get()) +
         narrow_bytes(first * codes_of_panel(), bits_);
}

}  // namespace quell::kernels
