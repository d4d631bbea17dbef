// Gradients through decoders against those of PyTorch in float64 (tests/data/train): grouped
// queries, rotary positions and gates in LLaMA, ALiBi and fused projections in BLOOM.
#include <gtest/gtest.h>

#include <ATen/ops/linspace.h>
#include <ATen/ops/mul.h>

#include "framework/io/safetensors.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"

namespace quell {
namespace {

struct DecoderGradients : testing::TestWithParam<std::string> {};

TEST_P(DecoderGradients, EqualThoseOfPytorch) {
  const auto folder = test_data() / "models" / GetParam();
  const SafetensorsFile golden(test_data() / ("train/gradients_" + GetParam() + ".safetensors"));
  // A site that observes makes attention matrices equally wide.
  for (const char* quant :
       {"{rules: []}", "{rules: [{sites: 'activation:*.probs', quantize: true, bits: 8}]}"}) {
    QuantizedNetwork network(folder, quant);
    PassOptions options;
    for (size_t id = 0; id < network.model().sites().size(); ++id) {
      if (network.points().point(static_cast<SiteId>(id)) != nullptr) {
        options.observe.insert(static_cast<SiteId>(id));
      }
    }
    for (auto& [name, tensor] : network.model().parameters()) tensor.set_requires_grad(true);
    const Batch batch = read_batches(folder / "inputs.safetensors", {"b4.input_ids"})[0];
    const at::Tensor logits =
        network.model().forward(batch, Pass(network.points(), options)).at("logits");
    at::mul(logits, at::linspace(-1, 1, logits.numel()).view_as(logits)).sum().backward();
    size_t compared = 0;
    for (const Segment& segment : network.model().segments()) {
      for (const ModelTensor& tensor : segment.tensors) {
        const ExpectedTensor& stored = tensor.stored;
        if (!golden.contains(stored.stored_name())) continue;
        const at::Tensor expected =
            take_part(stored.part, golden.read(stored.stored_name()), stored.shape);
        ASSERT_TRUE(tensor.place->grad().defined()) << stored.name;
        // Keys are compared with each other only: their bias has no gradient but rounding.
        const bool vanishes = stored.name.find(".key.bias") != std::string::npos;
        EXPECT_LT(max_difference(tensor.place->grad(), expected),
                  vanishes ? 1e-4 : float_tolerance(expected))
            << stored.name;
        ++compared;
      }
    }
    EXPECT_GE(compared, golden.names().size());
  }
}

INSTANTIATE_TEST_SUITE_P(Models, DecoderGradients, testing::Values("llama", "bloom"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace quell
