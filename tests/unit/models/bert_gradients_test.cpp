// Gradients through BERT against those of PyTorch in float64 (tests/data/train), and dropout.
#include <gtest/gtest.h>

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/mul.h>

#include "framework/io/safetensors.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"

namespace quell {
namespace {

std::filesystem::path tiny_model() { return test_data() / "parity/outlier_suppression"; }

Batch batch(int64_t keep_padding_to = 0) {
  return read_batches(tiny_model() / "inputs.safetensors", {"b0.input_ids"}, keep_padding_to)[0];
}

const SafetensorsFile& golden() {
  static const SafetensorsFile file(test_data() / "train/gradients.safetensors");
  return file;
}

void require_gradients(const Model& model, bool on) {
  for (auto& [name, tensor] : model.parameters()) at::Tensor(tensor).set_requires_grad(on);
}

// Of the loss that the goldens are of; what they do not hold is left out.
std::map<std::string, at::Tensor> gradients(QuantizedNetwork& network, const Batch& batch,
                                            const PassOptions& options = {}) {
  require_gradients(network.model(), true);
  const at::Tensor logits =
      network.model().forward(batch, Pass(network.points(), options)).at("logits");
  at::mul(logits, at::linspace(-1, 1, logits.numel()).view_as(logits)).sum().backward();
  std::map<std::string, at::Tensor> result;
  for (auto& [name, tensor] : network.model().parameters()) {
    at::Tensor parameter = tensor;
    if (golden().contains(name)) result[name] = parameter.grad();
    parameter.mutable_grad() = at::Tensor();
    parameter.set_requires_grad(false);
  }
  return result;
}

// 2e-5 of the largest gradient of a tensor: what the order of sums moves in float32.
void expect_golden(const std::map<std::string, at::Tensor>& found) {
  EXPECT_EQ(found.size(), golden().names().size() - 1);  // all but the logits
  for (const auto& [name, gradient] : found) {
    ASSERT_TRUE(gradient.defined()) << name;
    const at::Tensor expected = golden().read(name);
    // Keys are compared with each other only: their bias has no gradient but rounding.
    const bool vanishes = name.find("self.key.bias") != std::string::npos;
    const double tolerance = vanishes ? 1e-5 : float_tolerance(expected);
    EXPECT_LT(max_difference(gradient, expected), tolerance) << name;
  }
}

TEST(BertGradients, EqualThoseOfPytorch) {
  QuantizedNetwork network(tiny_model(), "{rules: []}");
  expect_golden(gradients(network, batch()));
  expect_golden(gradients(network, batch(32)));  // kept padding is masked
}

// A site that observes makes attention matrices equally wide.
TEST(BertGradients, EqualThoseOfPytorchWithPaddedMatrices) {
  QuantizedNetwork network(tiny_model(),
                           "{rules: [{sites: 'activation:*.scores', quantize: true, bits: 8}]}");
  PassOptions options;
  for (size_t id = 0; id < network.model().sites().size(); ++id) {
    if (network.points().point(static_cast<SiteId>(id)) != nullptr) {
      options.observe.insert(static_cast<SiteId>(id));
    }
  }
  expect_golden(gradients(network, batch(), options));
}

TEST(BertGradients, DoNotDependOnTheNumberOfThreads) {
  QuantizedNetwork network(tiny_model(), "{rules: []}");
  const auto one = gradients(network, batch());
  at::set_num_threads(3);
  const auto three = gradients(network, batch());
  at::set_num_threads(1);
  for (const auto& [name, gradient] : one) {
    // 1e-6: LibTorch splits some sums by threads.
    EXPECT_LT(max_difference(gradient, three.at(name)),
              1e-6 * (1 + gradient.abs().max().item<double>()))
        << name;
  }
}

TEST(BertGradients, RecordingChangesNoOutput) {
  QuantizedNetwork network(tiny_model(), "{rules: []}");
  const at::Tensor plain = network.logits(batch(), false, false);
  require_gradients(network.model(), true);
  const at::Tensor recorded = network.model().forward(batch(), network.pass()).at("logits");
  EXPECT_TRUE(recorded.requires_grad());
  EXPECT_TRUE(equal_bits(recorded.detach(), plain));
  const at::NoGradGuard no_gradients;
  EXPECT_TRUE(equal_bits(network.model().forward(batch(), network.pass()).at("logits"), plain));
}

TEST(BertGradients, FrozenWeightsHaveNone) {
  QuantizedNetwork network(tiny_model(), "{rules: []}");
  auto parameters = network.model().parameters();
  at::Tensor trained = parameters.at("bert.encoder.layer.1.attention.self.key.weight");
  trained.set_requires_grad(true);
  network.model().forward(batch(), network.pass()).at("logits").sum().backward();
  EXPECT_GT(trained.grad().abs().max().item<double>(), 0);
  for (const auto& [name, tensor] : parameters) {
    EXPECT_EQ(tensor.grad().defined(), tensor.is_same(trained)) << name;
  }
}

TEST(BertDropout, FollowsFromSeedAndStep) {
  QuantizedNetwork network(tiny_model(), "{rules: []}");
  const at::NoGradGuard no_gradients;
  const auto logits = [&](uint64_t seed, int64_t step) {
    Dropout dropout({.hidden = 0.1, .attention = 0.1, .head = 0.1}, seed);
    dropout.start_step(step);
    const Pass pass(network.points(), {.dropout = &dropout});
    return network.model().forward(batch(), pass).at("logits");
  };
  const at::Tensor first = logits(1, 5);
  EXPECT_TRUE(equal_bits(first, logits(1, 5)));
  EXPECT_FALSE(first.equal(logits(1, 6)));
  EXPECT_FALSE(first.equal(logits(2, 5)));
  EXPECT_FALSE(first.equal(network.logits(batch(), false, false)));
  at::set_num_threads(2);
  EXPECT_TRUE(equal_bits(first, logits(1, 5)));
  at::set_num_threads(1);
}

TEST(BertDropout, RatesOfTheConfiguration) {
  QuantizedNetwork network(tiny_model(), "{rules: []}");
  const DropoutRates rates = network.model().dropout_rates();
  EXPECT_EQ(rates.hidden, 0.1);
  EXPECT_EQ(rates.attention, 0.1);
  EXPECT_EQ(rates.head, 0.1);  // null in the file: that of hidden activations
}

}  // namespace
}  // namespace quell
