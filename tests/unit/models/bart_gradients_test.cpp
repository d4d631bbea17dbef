// Gradients through BART against those of PyTorch in float64 (tests/data/train).
#include <gtest/gtest.h>

#include <ATen/ops/linspace.h>
#include <ATen/ops/mul.h>

#include "framework/io/safetensors.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"

namespace quell {
namespace {

TEST(BartGradients, EqualThoseOfPytorch) {
  const auto folder = test_data() / "parity/outlier_suppression_bart_gen";
  const SafetensorsFile golden(test_data() / "train/gradients_bart.safetensors");
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
    const Batch batch = read_batches(folder / "inputs.safetensors", {"b0.input_ids"})[0];
    auto parameters = network.model().parameters();
    for (auto& [name, tensor] : parameters) tensor.set_requires_grad(true);
    const at::Tensor logits =
        network.model().forward(batch, Pass(network.points(), options)).at("logits");
    at::mul(logits, at::linspace(-1, 1, logits.numel()).view_as(logits)).sum().backward();
    for (const std::string& name : golden.names()) {
      const at::Tensor found = parameters.at(name).grad(), expected = golden.read(name);
      ASSERT_TRUE(found.defined()) << name;
      // Keys are compared with each other only: their bias has no gradient but rounding.
      const bool vanishes = name.find("k_proj.bias") != std::string::npos;
      EXPECT_LT(max_difference(found, expected), vanishes ? 1e-4 : float_tolerance(expected))
          << name;
    }
  }
}

}  // namespace
}  // namespace quell
