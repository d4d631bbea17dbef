#include "tests/benchmarks/published/threshold_search.h"

#include <ATen/ATen.h>
#include <cmath>
#include <limits>

#include "tests/benchmarks/published/operations.h"

namespace quell::published {
namespace {

// [batch, length, heads * size] as [batch, heads, length, size].
at::Tensor by_head(const at::Tensor& part, int64_t heads) {
  return part.view({part.size(0), part.size(1), heads, part.size(2) / heads}).transpose(1, 2);
}

at::Tensor rotated(const at::Tensor& part, const SearchedGroup& group) {
  if (!group.cosines.defined()) return part;
  const auto halves = part.chunk(2, -1);
  return part * group.cosines + at::cat({-halves[1], halves[0]}, -1) * group.sines;
}

at::Tensor context_of(const SearchedGroup& group, const at::Tensor& rows,
                      const at::Tensor& weight) {
  const int64_t batch = rows.size(0), length = rows.size(1);
  const int64_t key_heads = group.key_heads > 0 ? group.key_heads : group.heads;
  const int64_t size = weight.size(0) / (group.heads + 2 * key_heads);
  const auto parts =
      at::linear(rows, weight, group.bias)
          .split_with_sizes({group.heads * size, key_heads * size, key_heads * size}, -1);
  const auto repeated = [&](const at::Tensor& part) {
    return part.repeat_interleave(group.heads / key_heads, 1)
        .contiguous()
        .view({batch * group.heads, length, size});
  };
  const at::Tensor query =
      (rotated(by_head(parts[0], group.heads), group) / std::sqrt(static_cast<double>(size)))
          .contiguous()
          .view({batch * group.heads, length, size});
  at::Tensor scores =
      at::bmm(query, repeated(rotated(by_head(parts[1], key_heads), group)).transpose(1, 2));
  at::Tensor seen = group.mask.view({batch, 1, 1, length});
  if (group.causal) seen = seen & at::ones({length, length}, at::kBool).tril();
  const at::Tensor hidden =
      at::where(seen, at::zeros({}, at::kFloat),
                at::full({}, std::numeric_limits<float>::lowest(), at::kFloat));
  scores = scores.view({batch, group.heads, length, length}) + hidden;
  const at::Tensor probs = at::softmax(scores, -1).view({batch * group.heads, length, length});
  return at::bmm(probs, repeated(by_head(parts[2], key_heads)))
      .view({batch, group.heads, length, size})
      .transpose(1, 2)
      .reshape({batch, length, group.heads * size});
}

at::Tensor outputs_of(const SearchedGroup& group, const at::Tensor& rows,
                      const at::Tensor& weight) {
  if (group.heads > 0) return context_of(group, rows, weight);
  const at::Tensor outputs = at::linear(rows, weight);
  if (!group.gated) return outputs;
  const auto parts = outputs.chunk(2, -1);
  return at::silu(parts[1]) * parts[0];
}

// Observed and quantized with the asymmetric grid of that code.
at::Tensor quantized(const at::Tensor& values, const at::Tensor& min, const at::Tensor& max,
                     int64_t bits) {
  const int64_t high = (int64_t{1} << bits) - 1;
  const at::Tensor low = at::clamp_max(min, 0);
  const at::Tensor scale = at::clamp_min((at::clamp_min(max, 0) - low) / static_cast<double>(high),
                                         std::numeric_limits<float>::epsilon());
  const at::Tensor zero_point = at::clamp(0 - at::round(low / scale), 0, high);
  return quantize_dequantize(values, scale, zero_point, 0, high);
}

}  // namespace

at::Tensor float_outputs(const SearchedGroup& group) {
  return outputs_of(group, group.rows, group.weight);
}

double threshold_loss(const SearchedGroup& group, const at::Tensor& outputs,
                      const at::Tensor& scale, float threshold) {
  const at::Tensor weight = group.weight * scale;
  const at::Tensor bound = at::full({1}, threshold, at::kFloat);
  const at::Tensor rows = quantized(group.rows / scale, bound.neg(), bound, group.bits);
  const at::Tensor found = outputs_of(group, rows,
                                      quantized(weight, weight.amin(1, /*keepdim=*/true),
                                                weight.amax(1, /*keepdim=*/true), group.bits));
  return (found - outputs).pow(2).sum(-1).masked_select(group.mask).mean().item<double>();
}

}  // namespace quell::published
