// The engine of saturating sums against plain loops, and against the exact engine.

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/where.h>
#include <gmock/gmock.h>
#include <algorithm>

#include "tests/support/engine.h"

namespace quell {
namespace {

std::string rules(int bits) {
  return "{include: placements/outlier_suppression.yaml, rules: ["
         "{sites: 'weight:*', bits: " +
         std::to_string(bits) +
         ", symmetric: true, granularity: channel, observer: minmax}, "
         "{sites: 'activation:*', bits: " +
         std::to_string(bits) + ", observer: avg_minmax}]}";
}

// The tiny golden BERT, calibrated, with codes of its weights driven to the ends of their grids
// where that is asked for.
struct Calibrated {
  const at::NoGradGuard no_gradients;
  const std::filesystem::path folder = test_data() / "parity/outlier_suppression";
  QuantizedNetwork network;
  std::vector<Batch> batches;
  std::unique_ptr<const Engine> engine = make_engine("saturating");

  Calibrated(int bits, bool extreme) : network(folder, rules(bits)) {
    batches = read_batches(folder / "inputs.safetensors", {"b0.input_ids", "b1.input_ids"});
    for (const Segment& segment : network.model().segments()) {
      for (const ModelTensor& tensor : segment.tensors) {
        if (!extreme || tensor.site == kNoSite || tensor.place->dim() != 2) continue;
        at::Tensor& weight = *tensor.place;
        weight = at::where(weight > 0, weight.max(), weight.min());
      }
    }
    network.calibrate(batches);
  }
  at::Tensor logits(const Engine* by) {
    const SitePoints& points = network.points();
    return network.model()
        .forward(batches[0],
                 Pass(points, {.quantize = points.calibrated(true, true), .engine = by}))
        .at("logits");
  }
};

// (saturated sum - zero point * sum of weights) * scales + bias, step by step in float32.
at::Tensor by_loops(const IntegerCodes& x, const IntegerCodes& w, const at::Tensor& bias,
                    int64_t& saturated) {
  const int64_t rows = x.codes.size(0), outputs = w.codes.size(0), inputs = w.codes.size(1);
  at::Tensor result = at::empty({rows, outputs});
  const auto codes = x.codes.accessor<uint8_t, 2>();
  const auto weights = w.codes.accessor<int8_t, 2>();
  const float x_scale = x.parameters.scale.item<float>();
  const auto zero = static_cast<int64_t>(x.parameters.zero_point.item<float>());
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t o = 0; o < outputs; ++o) {
      int64_t sum = 0, of_w = 0;
      for (int64_t k = 0; k < inputs; k += 2) {
        int64_t pair = 0;
        for (int64_t i = k; i < std::min(k + 2, inputs); ++i) {
          pair += int64_t{codes[r][i]} * weights[o][i];
          of_w += weights[o][i];
        }
        saturated += pair != std::clamp<int64_t>(pair, -32768, 32767);
        sum += std::clamp<int64_t>(pair, -32768, 32767);
      }
      const float scale = x_scale * w.parameters.scale[o].item<float>();
      const float product = static_cast<float>(sum - zero * of_w) * scale;
      result[r][o] = product + bias[o].item<float>();
    }
  }
  return result;
}

TEST(Saturating, LinearsHaveTheBitsOfPlainLoops) {
  for (const bool extreme : {false, true}) {
    Calibrated run(8, extreme);
    SitePoints& points = run.network.points();
    int64_t linears = 0, saturated = 0;
    const auto compare = [&](const Operand& operand, const Rows& input) {
      const auto* linear = std::get_if<const Linear*>(&operand);
      // Plain loops take their time.
      if (linear == nullptr || input.grid == nullptr || ++linears > 6) return;
      const Weight weight((*linear)->weight, points, (*linear)->weight_site);
      const Rows rows = run.engine->quantize(*input.grid, input.values, /*in_place=*/false);
      const at::Tensor found =
          run.engine->linear({.rows = rows, .weight = weight, .bias = (*linear)->bias}).values;
      EXPECT_TRUE(found.equal(by_loops(*rows.codes, weight.codes(), (*linear)->bias, saturated)));
    };
    run.network.model().forward(
        run.batches[0],
        Pass(points, {.quantize = points.calibrated(true, true), .inputs = compare}));
    EXPECT_GE(linears, 6);
    if (extreme) {
      EXPECT_GT(saturated, 0);
    }
  }
}

TEST(Saturating, ChangesALogitOfEightBitsAndNoneOfSix) {
  const std::unique_ptr<const Engine> exact = make_engine("integer");
  Calibrated eight(8, /*extreme=*/true), six(6, /*extreme=*/true);
  EXPECT_FALSE(eight.logits(eight.engine.get()).equal(eight.logits(exact.get())));
  EXPECT_TRUE(six.logits(six.engine.get()).equal(six.logits(exact.get())));
}

}  // namespace
}  // namespace quell
