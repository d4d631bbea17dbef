#include "tests/benchmarks/published/threshold_search.h"

#include <ATen/ATen.h>
#include <cmath>
#include <limits>

#include "tests/benchmarks/published/operations.h"

namespace quell::published {
namespace {

at::Tensor outputs_of(const SearchedGroup& group, const at::Tensor& rows,
                      const at::Tensor& weight) {
  if (group.heads == 0) return at::linear(rows, weight);
  const int64_t batch = rows.size(0), length = rows.size(1), features = rows.size(2);
  const int64_t size = features / group.heads;
  const auto parts = at::linear(rows, weight, group.bias).chunk(3, -1);
  const auto by_head = [&](const at::Tensor& part) {
    return part.view({batch, length, group.heads, size})
        .transpose(1, 2)
        .contiguous()
        .view({batch * group.heads, length, size});
  };
  const at::Tensor query = by_head(parts[0] / std::sqrt(static_cast<double>(size)));
  at::Tensor scores = at::bmm(query, by_head(parts[1]).transpose(1, 2));
  const at::Tensor hidden =
      at::where(group.mask, at::zeros({}, at::kFloat),
                at::full({}, std::numeric_limits<float>::lowest(), at::kFloat));
  scores = scores.view({batch, group.heads, length, length}) + hidden.view({batch, 1, 1, length});
  const at::Tensor probs = at::softmax(scores, -1).view({batch * group.heads, length, length});
  return at::bmm(probs, by_head(parts[2]))
      .view({batch, group.heads, length, size})
      .transpose(1, 2)
      .reshape({batch, length, features});
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
