// Massive values that are set to zero or to their mean, on a LLaMA whose largest values count as
// such.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <limits>
#include <map>

#include "framework/outliers/hidden_states.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"

namespace quell {
namespace {

using testing::HasSubstr;

class MassiveActivationsTest : public testing::Test {
 protected:
  using States = std::map<std::string, at::Tensor>;  // by segment

  static States states(QuantizedNetwork& network, const Batch& batch) {
    States found;
    for_each_hidden_state(network.model(), batch, network.pass(),
                          [&](size_t segment, const at::Tensor& rows) {
                            found[network.model().segments()[segment].name] = rows.clone();
                          });
    return found;
  }

  const at::NoGradGuard no_gradients_;
  const std::filesystem::path folder_ = test_data() / "models/llama";
  const Batch batch_ = read_batches(folder_ / "inputs.safetensors", {"b4.input_ids"})[0];
};

TEST_F(MassiveActivationsTest, AreSetBehindTheLayerThatMakesThem) {
  for (const bool mean : {false, true}) {
    QuantizedNetwork network(folder_, "{rules: []}");
    const at::Tensor before = states(network, batch_).at("decoder.0");
    MagnitudeCounts counts;
    counts.add(before);
    constexpr double kRatio = 4;
    const double limit = kRatio * counts.median();
    const at::Tensor is_massive = before.abs().ge(limit);
    const int64_t massive = is_massive.sum().item<int64_t>();
    ASSERT_GT(massive, 0);
    ASSERT_LT(massive, before.numel() / 20);

    network.transform(
        "massive_activations",
        fmt::format("{{set_to: {}, least: 1.0e-6, ratio: {}}}", mean ? "mean" : "zero", kRatio),
        std::span(&batch_, 1));
    const at::Tensor after = states(network, batch_).at("decoder.0");
    EXPECT_TRUE(after.masked_select(is_massive.logical_not())
                    .equal(before.masked_select(is_massive.logical_not())));
    for (int64_t channel = 0; channel < before.size(1); ++channel) {
      const at::Tensor rows = is_massive.select(1, channel);
      if (!rows.any().item<bool>()) continue;
      const at::Tensor old = before.select(1, channel).masked_select(rows).to(at::kDouble);
      const double expected = mean ? old.mean().item<double>() : 0;
      const at::Tensor now = after.select(1, channel).masked_select(rows).to(at::kDouble);
      // The mean is rounded to float32 once.
      EXPECT_LE(now.sub(expected).abs().max().item<double>(), 1e-7 * std::abs(expected));
    }
  }
}

TEST_F(MassiveActivationsTest, AChannelIsHeldOnce) {
  QuantizedNetwork network(folder_, "{rules: []}");
  network.transform("massive_activations", "{least: 1.0e-6, ratio: 3}", std::span(&batch_, 1));
  std::map<int64_t, int> held;
  for (const auto& [name, tensor] : network.model().parameters()) {
    if (!name.ends_with(".held.limit")) continue;
    for (int64_t channel = 0; channel < tensor.numel(); ++channel) {
      held[channel] += tensor[channel].item<float>() < std::numeric_limits<float>::max();
    }
  }
  int any = 0;
  for (const auto& [channel, times] : held) {
    EXPECT_LE(times, 1) << channel;
    any += times;
  }
  EXPECT_GT(any, 0);
}

TEST_F(MassiveActivationsTest, WhereThereAreNoneNothingChanges) {
  QuantizedNetwork network(folder_, "{rules: []}");
  const at::Tensor before = network.logits(batch_, false, false);
  EXPECT_THAT(network.transform("massive_activations", "", std::span(&batch_, 1)),
              HasSubstr("nothing is changed"));
  EXPECT_TRUE(network.logits(batch_, false, false).equal(before));
  for (const auto& [name, tensor] : network.model().parameters()) {
    EXPECT_EQ(name.find(".held."), std::string::npos) << name;
  }
}

}  // namespace
}  // namespace quell
