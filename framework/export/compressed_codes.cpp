#include "framework/export/compressed_codes.h"

#include <ATen/ops/round.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <cmath>
#include <limits>

#include "framework/base/error.h"
#include "framework/quant/scale_map.h"

namespace quell {
namespace {

constexpr float kLow = -128, kHigh = 127;

}  // namespace

CompressedWeight compressed_weight(const IntegerCodes& codes, const QuantSpec& spec, int64_t bits) {
  const QuantParameters& of = codes.parameters;
  const int64_t outputs = codes.codes.size(0);
  const ScaleMap map = ScaleMap::of_parameters(spec, codes.codes.sizes(), of.scale.numel());
  const auto by_row = [&](const at::Tensor& values) {
    const at::Tensor all = map.expand(values);
    return map.channels() == 1 ? all.expand({outputs}).view({outputs, 1}).contiguous()
                               : all.view({outputs, -1}).contiguous();
  };
  const float lowest = -std::exp2(static_cast<float>(bits - 1)), highest = -lowest - 1;
  // Unsigned codes are counted from the middle of the stored ones, which moves zero points along.
  const float moved = spec.symmetric ? 0 : lowest - of.levels.low;
  const at::Tensor zero_point = of.zero_point.add(moved);
  if (spec.symmetric && zero_point.ne(0).any().item<bool>()) {
    throw Error("its quantizer has learned a zero point for a symmetric grid; use `fixed`");
  }
  if (!at::round(zero_point).equal(zero_point) || zero_point.lt(lowest).any().item<bool>() ||
      zero_point.gt(highest).any().item<bool>()) {
    throw Error("a zero point is no integer of its grid, and the format stores such; use `fixed`");
  }
  const at::Tensor stored = codes.codes.to(at::kInt).add(static_cast<int64_t>(moved));
  if (stored.lt(lowest).any().item<bool>() || stored.gt(highest).any().item<bool>()) {
    throw Error(fmt::format("its codes are not those of {} signed bits; use `grid: os`", bits));
  }
  CompressedWeight result{stored.to(at::kChar).contiguous(), by_row(of.scale)};
  if (!spec.symmetric) result.zero_point = by_row(zero_point).to(at::kChar);
  return result;
}

at::Tensor packed_codes(const at::Tensor& codes, int64_t bits) {
  constexpr int64_t kWordBits = 32;
  QUELL_ASSERT(bits == 4 || bits == 8, "codes that fill words");
  const int64_t rows = codes.size(0), columns = codes.size(1), in_word = kWordBits / bits;
  const int64_t words = (columns + in_word - 1) / in_word;
  const at::Tensor dense = codes.contiguous();
  at::Tensor packed = at::zeros({rows, words}, codes.options().dtype(at::kInt));
  const int8_t* from = dense.const_data_ptr<int8_t>();
  int32_t* to = packed.mutable_data_ptr<int32_t>();
  const int32_t offset = 1 << (bits - 1);
  for (int64_t row = 0; row < rows; ++row, from += columns, to += words) {
    for (int64_t k = 0; k < columns; ++k) {
      const auto code = static_cast<uint32_t>(from[k] + offset);
      const uint32_t word = static_cast<uint32_t>(to[k / in_word]) | code << k % in_word * bits;
      to[k / in_word] = static_cast<int32_t>(word);
    }
  }
  return packed;
}

InputGrid input_grid(const QuantParameters& parameters) {
  const float zero_point =
      parameters.zero_point.const_data_ptr<float>()[0] - parameters.levels.low + kLow;
  if (zero_point != std::rint(zero_point) || zero_point < kLow || zero_point > kHigh) {
    throw Error(
        fmt::format("its zero point of {} is no integer of its grid, and the format stores "
                    "integers; use `fixed`",
                    zero_point - kLow));
  }
  return {parameters.scale.const_data_ptr<float>()[0], static_cast<int32_t>(zero_point)};
}

InputGrid grid_in_vllm(const InputGrid& stored) {
  const auto zero_point = static_cast<float>(stored.zero_point);
  const float highest = stored.scale * (kHigh - zero_point);
  const float lowest = stored.scale * (kLow - zero_point);
  const float scale = (highest - lowest) / (kHigh - kLow);
  return {scale, static_cast<int32_t>(kLow - lowest / scale)};
}

InputGrid safe_for_vllm(const InputGrid& grid) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr int kMostSteps = 49;  // all zero points with all mantissas were tried
  InputGrid below = grid, above = grid;
  for (int step = 0; step < kMostSteps; ++step) {
    for (const InputGrid& one : {above, below}) {
      if (grid_in_vllm(one).zero_point == grid.zero_point) return one;
    }
    below.scale = std::nextafter(below.scale, 0.0F);
    above.scale = std::nextafter(above.scale, kInfinity);
  }
  throw Error(
      fmt::format("no scale near {} gives vLLM a zero point of {}", grid.scale, grid.zero_point));
}

}  // namespace quell
