// The forward pass of fake quantization: one scale for the tensor, per channel, per group, per
// embedding group, and per token by its own range. `--help` says how to run it.
#include <ATen/ATen.h>

#include "framework/kernels/fake_quantize.h"
#include "framework/kernels/min_max.h"
#include "framework/quant/parallel.h"
#include "tests/benchmarks/published/operations.h"
#include "tests/benchmarks/support/data.h"

namespace quell::benchmarks {
namespace {

using at::Tensor;

constexpr int64_t kGroupSize = 64;
constexpr int64_t kEmbeddingGroups = 8;
constexpr int64_t kBytes = 8;  // of a value, read and written

int64_t highest(int64_t bits) { return (int64_t{1} << bits) - 1; }

kernels::AffineRule rule_of(kernels::Grid grid, int64_t bits) {
  return kernels::affine_rule(grid, static_cast<int>(bits), /*symmetric=*/false);
}

// Own writes to y, as all of these operations do.
Contender own_contender(const Buffers& buffers, std::function<void(const float*, float*)> kernel) {
  return {"own", [buffers, kernel = std::move(kernel)](int64_t slot) -> Outputs {
            kernel(buffers.in(slot), buffers.out(slot));
            return {buffers.y[static_cast<size_t>(slot)]};
          }};
}

// From x to y, by operations of LibTorch.
Contender composed(std::string name, const Buffers& buffers,
                   std::function<Tensor(const Tensor& x)> sequence,
                   Difference difference = difference_in_bits) {
  return {std::move(name),
          [buffers, sequence = std::move(sequence)](int64_t slot) -> Outputs {
            return {sequence(buffers.x[static_cast<size_t>(slot)])};
          },
          std::move(difference)};
}

Case case_of(const Setting& setting, const Buffers& buffers, std::vector<Contender> contenders) {
  return {kBytes * setting.values(), static_cast<int64_t>(buffers.x.size()), std::move(contenders)};
}

// LibTorch multiplies by 1 / scale and may land on the neighbouring code.
Difference within_a_step(const Tensor& scale) {
  return difference_beyond(1.001 * scale.max().item<double>());
}

Case whole_tensor(const Setting& setting) {
  const Buffers buffers(setting);
  const auto rule = rule_of(kernels::Grid::kOs, setting.bits);
  const int64_t size = setting.values(), high = highest(setting.bits);
  const auto range = kernels::min_max_tensor(buffers.in(0), size);
  const auto grid = kernels::scale_zero_point(rule, range.min, range.max);
  const Tensor scale = at::full({1}, grid.scale), zero_point = at::full({1}, grid.zero_point);
  const auto own = [=](const float* x, float* y) {
    kernels::fake_quantize_tensor(x, y, size, grid.scale, grid.zero_point, rule.levels,
                                  parallel_for);
  };
  const auto aten = [=](const Tensor& x) {
    return at::fake_quantize_per_tensor_affine(x, grid.scale, static_cast<int64_t>(grid.zero_point),
                                               0, high);
  };
  const auto published = [=](const Tensor& x) {
    return published::quantize_dequantize(x, scale, zero_point, 0, high);
  };
  // LibTorch's own copy, which is faster than ours where it bypasses the cache.
  Contender libtorch_copy = {"copy_",
                             [buffers](int64_t slot) -> Outputs {
                               const auto i = static_cast<size_t>(slot);
                               return {Tensor(buffers.y[i]).copy_(buffers.x[i])};
                             },
                             not_compared};
  return case_of(setting, buffers,
                 {own_contender(buffers, own), copy_contender(buffers), libtorch_copy,
                  composed("aten", buffers, aten, within_a_step(scale)),
                  composed("published", buffers, published)});
}

// One scale per row (axis 0) or per feature (axis 1) of [rows, features].
Case channels(const Setting& setting, int64_t axis) {
  const int64_t rows = setting.rows(), features = setting.features();
  const int64_t high = highest(setting.bits);
  const Buffers buffers({{rows, features}, setting.bits, setting.cold});
  const auto [least, most] = at::aminmax(buffers.x[0], 1 - axis);
  const Tensor scale = ((most - least) / static_cast<double>(high)).contiguous();
  const Tensor zero_point = at::clamp(at::round(-least / scale), 0, high);
  const Tensor integer_zero_point = zero_point.to(at::kInt);
  const std::vector<int64_t> shape =
      axis == 0 ? std::vector<int64_t>{-1, 1} : std::vector<int64_t>{1, -1};
  const auto own = [=](const float* x, float* y) {
    kernels::fake_quantize_channels(x, y, axis == 0 ? 1 : rows, axis == 0 ? rows : features,
                                    axis == 0 ? features : 1, scale.const_data_ptr<float>(),
                                    zero_point.const_data_ptr<float>(),
                                    {0.0f, static_cast<float>(high)}, parallel_for);
  };
  const auto aten = [=](const Tensor& x) {
    return at::fake_quantize_per_channel_affine(x, scale, integer_zero_point, axis, 0, high);
  };
  const auto published = [=](const Tensor& x) {
    return published::quantize_dequantize(x, scale.view(shape), zero_point.view(shape), 0, high);
  };
  return case_of(setting, buffers,
                 {own_contender(buffers, own), copy_contender(buffers),
                  composed("aten", buffers, aten, within_a_step(scale)),
                  composed("published", buffers, published)});
}

// One fixed scale per group of neighbouring features.
Case groups(const Setting& setting) {
  const int64_t rows = setting.rows(), features = setting.features();
  const int64_t high = highest(setting.bits);
  const Buffers buffers({{rows, features}, setting.bits, setting.cold});
  const Tensor grouped = buffers.x[0].view({rows, -1, kGroupSize});
  const Tensor least = grouped.amin({0, 2}), most = grouped.amax({0, 2});
  const Tensor scale = (most - least) / static_cast<double>(high);
  const Tensor zero_point = at::clamp(at::round(-least / scale), 0, high);
  const Tensor integer_zero_point = zero_point.to(at::kInt);
  const auto own = [=](const float* x, float* y) {
    kernels::fake_quantize_groups(x, y, rows, features, kGroupSize, scale.const_data_ptr<float>(),
                                  zero_point.const_data_ptr<float>(),
                                  {0.0f, static_cast<float>(high)}, parallel_for);
  };
  const auto aten = [=](const Tensor& x) {
    return at::fake_quantize_per_channel_affine(x.view({rows, -1, kGroupSize}), scale,
                                                integer_zero_point, 1, 0, high)
        .view({rows, features});
  };
  const auto published = [=](const Tensor& x) {
    return published::quantize_dequantize(x.view({rows, -1, kGroupSize}), scale.view({1, -1, 1}),
                                          zero_point.view({1, -1, 1}), 0, high)
        .view({rows, features});
  };
  return case_of(setting, buffers,
                 {own_contender(buffers, own), copy_contender(buffers),
                  composed("aten", buffers, aten, within_a_step(scale)),
                  composed("published", buffers, published)});
}

// Scale and zero point of the rule, by operations of LibTorch.
struct Grids {
  Tensor scale, zero_point;
};

Grids qualcomm_grids(const Tensor& least, const Tensor& most, int64_t high) {
  const Tensor low = at::minimum(least, at::zeros_like(least));
  const Tensor up = at::maximum(most, at::ones_like(most) * 1e-8);
  const Tensor delta = (up - low) / static_cast<double>(high);
  return {at::clamp_min(delta, 1e-8), at::clamp(at::round(-low / delta), 0, high)};
}

// "Understanding and Overcoming the Challenges of Efficient Transformer Quantization": features
// sorted by their range, in groups of equal size, observed on the values and quantized. `order` is
// that permutation; published, a dense matrix permutes the values.
Tensor published_embedding_groups(const Tensor& x, const Tensor& ranges, int64_t high) {
  const int64_t features = x.size(1);
  const Tensor transposed = x.transpose(0, 1).contiguous().view({features, -1});
  const Tensor permutation = at::eye(features).index({at::argsort(ranges)});
  const Tensor grouped = permutation.mm(transposed).view({kEmbeddingGroups, -1});
  const Tensor least = std::get<0>(grouped.min(-1)), most = std::get<0>(grouped.max(-1));
  const int64_t size = features / kEmbeddingGroups;
  const Tensor back = permutation.t();
  const Grids grids = qualcomm_grids(back.mv(least.repeat_interleave(size)),
                                     back.mv(most.repeat_interleave(size)), high);
  return published::quantize_dequantize(x, grids.scale.view({1, -1}),
                                        grids.zero_point.view({1, -1}), 0, high);
}

Tensor aten_embedding_groups(const Tensor& x, const Tensor& order, int64_t high) {
  const auto [least, most] = at::aminmax(x, 0);
  const int64_t size = x.size(1) / kEmbeddingGroups;
  const Tensor group_least = least.index_select(0, order).view({-1, size}).amin(1);
  const Tensor group_most = most.index_select(0, order).view({-1, size}).amax(1);
  const Tensor back = at::argsort(order);
  const Grids grids =
      qualcomm_grids(group_least.repeat_interleave(size).index_select(0, back),
                     group_most.repeat_interleave(size).index_select(0, back), high);
  return at::fake_quantize_per_channel_affine(x, grids.scale, grids.zero_point.to(at::kInt), 1, 0,
                                              high);
}

// Per feature the grid of its group. `order`: the features of the first group, then the second, ...
void own_embedding_groups(const float* x, float* y, int64_t rows, int64_t features,
                          const int64_t* order, const kernels::AffineRule& rule) {
  std::vector<float> min(static_cast<size_t>(features)), max(min), scale(min), zero_point(min);
  kernels::min_max_channels(x, rows, features, 1, min.data(), max.data(), parallel_for);
  const int64_t size = features / kEmbeddingGroups;
  for (int64_t first = 0; first < features; first += size) {
    kernels::MinMax range;
    for (int64_t i = first; i < first + size; ++i) {
      const auto feature = static_cast<size_t>(order[i]);
      kernels::merge({min[feature], max[feature]}, range);
    }
    const auto grid = kernels::scale_zero_point(rule, range.min, range.max);
    for (int64_t i = first; i < first + size; ++i) {
      scale[static_cast<size_t>(order[i])] = grid.scale;
      zero_point[static_cast<size_t>(order[i])] = grid.zero_point;
    }
  }
  kernels::fake_quantize_channels(x, y, rows, features, 1, scale.data(), zero_point.data(),
                                  rule.levels, parallel_for);
}

Case embedding_groups(const Setting& setting) {
  const int64_t rows = setting.rows(), features = setting.features();
  const int64_t high = highest(setting.bits);
  const Buffers buffers({{rows, features}, setting.bits, setting.cold});
  const auto rule = rule_of(kernels::Grid::kQualcomm, setting.bits);
  const auto [least, most] = at::aminmax(buffers.x[0], 0);
  const Tensor ranges = most - least, order = at::argsort(ranges);
  const auto own = [=](const float* x, float* y) {
    own_embedding_groups(x, y, rows, features, order.const_data_ptr<int64_t>(), rule);
  };
  const auto aten = [=](const Tensor& x) { return aten_embedding_groups(x, order, high); };
  const auto published = [=](const Tensor& x) {
    return published_embedding_groups(x, ranges, high);
  };
  const Tensor widest_step = ranges.max() / static_cast<double>(high);
  return case_of(setting, buffers,
                 {own_contender(buffers, own), copy_contender(buffers),
                  composed("aten", buffers, aten, within_a_step(widest_step)),
                  composed("published", buffers, published)});
}

// Each stretch of `size` neighbours by its own range: a token, or a group.
Case dynamic(const Setting& setting, int64_t size) {
  const int64_t rows = setting.values() / size, high = highest(setting.bits);
  const Buffers buffers({{rows, size}, setting.bits, setting.cold});
  const auto rule = rule_of(kernels::Grid::kOsPlus, setting.bits);
  const auto own = [=](const float* x, float* y) {
    kernels::fake_quantize_rows_dynamic(x, y, rows, size, rule, nullptr, nullptr, parallel_for);
  };
  const auto grids = [=](const Tensor& least, const Tensor& most) -> Grids {
    const Tensor low = at::minimum(least, at::zeros_like(least));
    const Tensor up = at::maximum(most, at::zeros_like(most));
    const Tensor scale = at::clamp_min((up - low) / static_cast<double>(high), 1.1920929e-7);
    return {scale, at::clamp(-at::round(low / scale), 0, high)};
  };
  const auto aten = [=](const Tensor& x) {
    const auto [least, most] = at::aminmax(x, 1);
    const Grids found = grids(least, most);
    return at::fake_quantize_per_channel_affine(x, found.scale, found.zero_point.to(at::kInt), 0, 0,
                                                high);
  };
  const auto published = [=](const Tensor& x) {
    const auto [least, most] = at::aminmax(x, 1, /*keepdim=*/true);
    const Grids found = grids(least, most);
    return published::quantize_dequantize(x, found.scale, found.zero_point, 0, high);
  };
  const Tensor widest_step = (buffers.x[0].max() - buffers.x[0].min()) / static_cast<double>(high);
  return case_of(setting, buffers,
                 {own_contender(buffers, own), copy_contender(buffers),
                  composed("aten", buffers, aten, within_a_step(widest_step)),
                  composed("published", buffers, published)});
}

}  // namespace
}  // namespace quell::benchmarks

int main(int argc, char** argv) {
  using quell::benchmarks::Setting;
  namespace b = quell::benchmarks;
  return b::run_suite(
      argc, argv,
      {{.name = "tensor", .make = b::whole_tensor},
       {.name = "channel_rows", .make = [](const Setting& s) { return b::channels(s, 0); }},
       {.name = "channel_columns", .make = [](const Setting& s) { return b::channels(s, 1); }},
       {.name = "groups", .make = b::groups},
       {.name = "embedding_groups", .make = b::embedding_groups},
       {.name = "groups_dynamic",
        .make = [](const Setting& s) { return b::dynamic(s, b::kGroupSize); }},
       {.name = "rows_dynamic",
        .make = [](const Setting& s) { return b::dynamic(s, s.features()); }}});
}
