// Sizes and errors that a run reports, against computations of their own.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>
#include <cmath>
#include <map>

#include "framework/run/model_size.h"
#include "framework/run/site_errors.h"
#include "tests/support/engine.h"

namespace quell {
namespace {

std::filesystem::path tiny_model() { return test_data() / "parity/outlier_suppression"; }

TEST(ModelSize, BytesOfWeightsEmbeddingsAndTheRest) {
  QuantizedNetwork network(tiny_model(),
                           "rules: [{sites: 'weight:*', quantize: true, bits: 4},"
                           " {sites: 'weight:embeddings.word', bits: 2},"
                           " {sites: 'weight:classifier', quantize: false},"
                           " {sites: 'weight:*.norm', quantize: false}]");
  const ModelSize size = model_size(network.model(), network.plan());
  // Hidden 64, feed-forward 128, 3 layers, 3 labels, 200 words, 2 types; positions from the file.
  const double positions = static_cast<double>(network.model().max_positions());
  const double d = 64, f = 128, layers = 3;
  const double linears = layers * (4 * d * d + 2 * d * f) + d * d;
  const double biases = layers * (4 * d + f + d) + d + 3;
  const double norms = 2 * d * (2 * layers + 1);
  const double classifier = 3 * d;
  const double tables = (200 + positions + 2) * d;
  EXPECT_EQ(size.float_bytes, 4 * (linears + biases + norms + classifier + tables));
  EXPECT_EQ(size.quantized_bytes, linears / 2 + 4 * (biases + norms + classifier) + 200 * d / 4 +
                                      (positions + 2) * d / 2);
  EXPECT_EQ(size.float_embedding_bytes, 4 * tables);
  EXPECT_EQ(size.quantized_embedding_bytes, 200 * d / 4 + (positions + 2) * d / 2);
  EXPECT_EQ(size.ratio(), size.float_bytes / size.quantized_bytes);
}

TEST(SiteErrors, SignalToNoiseOfAWeight) {
  const at::Tensor weight = at::tensor({3.0f, -4.0f}), quantized = at::tensor({3.0f, -3.5f});
  EXPECT_DOUBLE_EQ(weight_sqnr_db(weight, quantized), 20.0);  // 25 / 0.25
  EXPECT_EQ(weight_sqnr_db(weight, weight), INFINITY);
}

struct Values {
  std::vector<float> plain, quantized;
};

double decibel(const Values& values) {
  double signal = 0, noise = 0;
  for (size_t i = 0; i < values.plain.size(); ++i) {
    signal += std::pow(double{values.plain[i]}, 2);
    noise += std::pow(double{values.quantized[i]} - values.plain[i], 2);
  }
  return 10 * std::log10(signal / noise);
}

double cosine(const Values& values) {
  double product = 0, left = 0, right = 0;
  for (size_t i = 0; i < values.plain.size(); ++i) {
    product += double{values.plain[i]} * values.quantized[i];
    left += std::pow(double{values.plain[i]}, 2);
    right += std::pow(double{values.quantized[i]}, 2);
  }
  return product / std::sqrt(left * right);
}

// Collects what passes every site in one pass.
std::map<SiteId, std::vector<float>> record(QuantizedNetwork& network, const Batch& batch,
                                            bool quantize) {
  std::map<SiteId, std::vector<float>> seen;
  network.logits(
      batch, quantize, quantize, [&](SiteId id, const at::Tensor&, const at::Tensor& after) {
        const at::Tensor rows = after.contiguous();
        seen[id].assign(rows.const_data_ptr<float>(), rows.const_data_ptr<float>() + rows.numel());
      });
  return seen;
}

TEST(SiteErrors, AgainstASeparateComputation) {
  QuantizedNetwork network(tiny_model(),
                           "{include: placements/outlier_suppression.yaml,"
                           " rules: [{sites: ['weight:*', 'activation:*'], bits: 6}]}");
  const auto batches = read_batches(tiny_model() / "inputs.safetensors", {"b0.input_ids"});
  Log log(Verbosity::kQuiet);
  PipelineContext context{network.model(), network.points(), batches, log};
  EXPECT_TRUE(site_errors(context, batches).activations.empty());
  network.calibrate(batches);
  const auto errors = site_errors(context, batches).activations;
  EXPECT_EQ(errors.size(), 26u);  // the activations of this placement

  auto plain = record(network, batches[0], false), quantized = record(network, batches[0], true);
  for (const auto& [id, error] : errors) {
    const Site& site = network.model().sites()[static_cast<size_t>(id)];
    EXPECT_NEAR(error.network_sqnr_db, decibel({plain[id], quantized[id]}), 1e-9) << site.key();
    EXPECT_NEAR(error.cosine_to_float, cosine({plain[id], quantized[id]}), 1e-12) << site.key();
    // The site's own quantizer on float values.
    const at::Tensor rows = at::tensor(plain[id]).view({-1, 1});
    const at::Tensor own = network.points().point(id)->quantizer->apply(rows, false);
    const float* data = own.const_data_ptr<float>();
    EXPECT_NEAR(error.sqnr_db, decibel({plain[id], {data, data + own.numel()}}), 1e-9)
        << site.key();
    EXPECT_GE(error.sqnr_db, error.network_sqnr_db - 1.0) << site.key();
  }
}

double energy(const at::Tensor& values) { return values.square().sum().item<double>(); }

// Everything anew in float64, from what enters each linear of the float network.
TEST(LinearErrors, AgainstASeparateComputation) {
  QuantizedNetwork network(tiny_model(),
                           "{include: placements/outlier_suppression.yaml,"
                           " rules: [{sites: ['weight:*', 'activation:*'], bits: 8}]}");
  const auto batches = read_batches(tiny_model() / "inputs.safetensors", {"b0.input_ids"});
  network.calibrate(batches);
  Log log(Verbosity::kQuiet);
  PipelineContext context{network.model(), network.points(), batches, log};
  const auto errors = site_errors(context, batches).linears;
  std::map<SiteId, at::Tensor> entered;
  std::map<SiteId, const SitePoint*> grids;
  const auto run = [&](SiteSet sites, const InputTap& tap) {
    const at::NoGradGuard no_gradients;
    network.model().forward(
        batches[0],
        Pass(network.points(), {.quantize = sites,
                                .tap = [](SiteId, const at::Tensor&, const at::Tensor&) {},
                                .inputs = tap}));
  };
  run({}, [&](const Operand& operand, const Rows& rows) {
    entered[weight_site(operand)] = rows.values.clone();
  });
  run(network.points().calibrated(true, true),
      [&](const Operand& operand, const Rows& rows) { grids[weight_site(operand)] = rows.grid; });
  EXPECT_GE(errors.size(), 12u);  // the linears of two layers
  for (const auto& [id, error] : errors) {
    const std::string key = network.model().sites()[static_cast<size_t>(id)].key();
    const at::Tensor weight = network.model().weight(id).to(at::kDouble),
                     x = entered[id].to(at::kDouble),
                     quantized = network.points().point(id)->quantizer->apply(
                         network.model().weight(id), false),
                     on_grid = grids[id]->quantizer->apply(entered[id], false);
    const double input = energy(x) / energy(on_grid.to(at::kDouble) - x),
                 own = energy(weight) / energy(quantized.to(at::kDouble) - weight);
    const at::Tensor y = at::linear(x, weight),
                     noisy = at::linear(on_grid.to(at::kDouble), quantized.to(at::kDouble));
    const double levels = 10 * std::log10(12 * 255.0 * 255.0);
    const double alignment =
        static_cast<double>(weight.size(1)) * energy(y) / (energy(weight) * energy(x));
    constexpr double kFloatSums = 1e-3;  // dB, of products in float32
    EXPECT_NEAR(error.input_sqnr_db, 10 * std::log10(input), 1e-6) << key;
    EXPECT_NEAR(error.input_concentration_db, 10 * std::log10(input) - levels, 1e-6) << key;
    EXPECT_NEAR(error.weight_concentration_db, 10 * std::log10(own) - levels, 1e-6) << key;
    EXPECT_NEAR(error.alignment_db, 10 * std::log10(alignment), kFloatSums) << key;
    EXPECT_NEAR(error.output_sqnr_db, 10 * std::log10(energy(y) / energy(noisy - y)), 0.05) << key;
    EXPECT_NEAR(error.predicted_sqnr_db, 10 * std::log10(alignment / (1 / input + 1 / own)),
                kFloatSums)
        << key;
    // Errors of 8 bits hardly depend on each other or on the values.
    EXPECT_NEAR(error.predicted_sqnr_db, error.output_sqnr_db, 3) << key;
    EXPECT_LE(error.alignment_db, 10 * std::log10(static_cast<double>(weight.size(1)))) << key;
  }
}

}  // namespace
}  // namespace quell
