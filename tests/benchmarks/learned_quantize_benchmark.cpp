// Learning a grid, LSQ+ with gradient scaling: one forward and one backward pass of our autograd
// function, gradients of values, scale and zero point. `--help` says how to run it.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <cmath>

#include "framework/quant/fake_quantize_autograd.h"
#include "tests/benchmarks/published/operations.h"
#include "tests/benchmarks/support/data.h"

namespace quell::benchmarks {
namespace {

using at::Tensor;

// Leaves, and the upstream gradient.
struct Leaves {
  Tensor x, scale, zero_point, dy;

  Leaves copies() const {
    const auto leaf = [](const Tensor& t) { return t.detach().clone().requires_grad_(true); };
    return {leaf(x), leaf(scale), leaf(zero_point), dy.clone()};
  }
};

struct Problem {
  QuantSpec spec;
  kernels::Levels levels;
  double factor = 1;  // of the gradients of scale and zero point
  std::vector<Leaves> slots;

  Problem(const Setting& setting, bool per_row) {
    Leaves leaves;
    leaves.x = activations({setting.rows(), setting.features()});
    spec.bits = setting.bits;
    if (per_row) {
      spec.granularity = Granularity::kChannel;
      spec.axis = 0;
    }
    // Narrower than the range, so that both ends clip.
    const Range range = min_max(leaves.x, spec);
    const QuantParameters parameters =
        parameters_from_range({range.min * 0.7, range.max * 0.7}, spec);
    levels = parameters.levels;
    leaves.scale = parameters.scale;
    leaves.zero_point = parameters.zero_point + 0.3;
    leaves.dy = at::randn_like(leaves.x);
    const auto values = static_cast<double>(leaves.x.numel() / leaves.scale.numel());
    factor = 1.0 / std::sqrt(values * levels.high);
    const int64_t count = setting.slots(5 * leaves.x.numel() * static_cast<int64_t>(sizeof(float)));
    for (int64_t i = 0; i < count; ++i) slots.push_back(leaves.copies());
  }
};

Tensor own(const Problem& problem, const Leaves& leaves) {
  return fake_quantize_learned(leaves.x, {leaves.scale, leaves.zero_point, problem.levels},
                               problem.spec,
                               {/*gradient_scaling=*/true, /*learned_zero_point=*/true},
                               /*in_place=*/false);
}

// As the published LSQPlusFakeQuantize.
Tensor published_sequence(const Problem& problem, const Leaves& leaves) {
  const std::vector<int64_t> shape{leaves.scale.numel(), 1};
  const Tensor scale = published::scale_gradient(leaves.scale, problem.factor).view(shape);
  const Tensor zero_point =
      published::scale_gradient(published::round_straight_through(leaves.zero_point),
                                problem.factor)
          .view(shape);
  return published::quantize_dequantize(leaves.x, scale, zero_point,
                                        static_cast<int64_t>(problem.levels.low),
                                        static_cast<int64_t>(problem.levels.high));
}

Tensor aten(const Problem& problem, const Leaves& leaves) {
  const auto low = static_cast<int64_t>(problem.levels.low);
  const auto high = static_cast<int64_t>(problem.levels.high);
  if (leaves.scale.numel() == 1) {
    return at::_fake_quantize_learnable_per_tensor_affine(leaves.x, leaves.scale, leaves.zero_point,
                                                          low, high, problem.factor);
  }
  return at::_fake_quantize_learnable_per_channel_affine(leaves.x, leaves.scale, leaves.zero_point,
                                                         /*axis=*/0, low, high, problem.factor);
}

using Forward = Tensor (*)(const Problem&, const Leaves&);

// Forward and backward: the output and the gradients, which the leaves do not keep.
Contender contender(std::string name, const Problem& problem, Forward forward,
                    Difference difference) {
  return {std::move(name),
          [problem, forward](int64_t slot) -> Outputs {
            const at::AutoGradMode gradients(true);
            Leaves leaves = problem.slots[static_cast<size_t>(slot)];
            const Tensor y = forward(problem, leaves);
            y.backward(leaves.dy);
            Outputs outputs{y.detach()};
            for (Tensor* leaf : {&leaves.x, &leaves.scale, &leaves.zero_point}) {
              outputs.push_back(leaf->grad());
              leaf->mutable_grad() = Tensor();
            }
            return outputs;
          },
          std::move(difference)};
}

// Outputs have to be equal; gradients of x to one rounding. The published gradients of scale and
// zero point are float32 sums of millions of products, each up to 63 times our terms.
std::string difference_of_gradients(const Outputs& own, const Outputs& other) {
  if (!at::equal(own[0], other[0])) return "the outputs are not equal";
  if (!at::allclose(own[1], other[1], 2.4e-7, 0)) return "gradients of the values";
  for (const size_t i : {2, 3}) {
    const double size = other[i].abs().max().item<double>();
    if (!at::allclose(own[i], other[i], 3e-5, 1e-4 * size)) {
      return i == 2 ? "gradients of the scale" : "gradients of the zero point";
    }
  }
  return "";
}

// What own moves: x to y, then x and dy to dx.
Contender copies(const Problem& problem) {
  return {"copy",
          [problem, y = at::zeros_like(problem.slots[0].dy),
           dx = at::zeros_like(problem.slots[0].dy)](int64_t slot) -> Outputs {
            const Leaves& leaves = problem.slots[static_cast<size_t>(slot)];
            const int64_t size = y.numel();
            float* out = y.mutable_data_ptr<float>();
            copy_floats(leaves.x.const_data_ptr<float>(), out, size);
            copy_floats(leaves.x.const_data_ptr<float>(), out, size / 2);
            copy_floats(leaves.dy.const_data_ptr<float>(), dx.mutable_data_ptr<float>(), size);
            return {y, dx};
          },
          not_compared};
}

Case lsq_plus(const Setting& setting, bool per_row) {
  const Problem problem(setting, per_row);
  return {20 * setting.values(),
          static_cast<int64_t>(problem.slots.size()),
          {contender("own", problem, own, difference_in_bits), copies(problem),
           // It rounds otherwise, also in its gradients.
           contender("aten", problem, aten, not_compared),
           contender("published", problem, published_sequence, difference_of_gradients)}};
}

}  // namespace
}  // namespace quell::benchmarks

int main(int argc, char** argv) {
  using quell::benchmarks::Setting;
  namespace b = quell::benchmarks;
  return b::run_suite(argc, argv,
                      {{"lsq_plus_tensor", [](const Setting& s) { return b::lsq_plus(s, false); }},
                       {"lsq_plus_rows", [](const Setting& s) { return b::lsq_plus(s, true); }}});
}
