// Sizes and errors that a run reports, against computations of their own.
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
  EXPECT_TRUE(site_errors(context, batches).empty());
  network.calibrate(batches);
  const auto errors = site_errors(context, batches);
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

}  // namespace
}  // namespace quell
