// `by_block`: each block is calibrated on what the quantized blocks in front of it give.
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <algorithm>
#include <map>

#include "tests/support/compare.h"
#include "tests/support/small_experiment.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr const char* kRules =
    "rules: [{sites: ['weight:*', 'activation:*'], quantize: true, bits: 4, observer: minmax}]";

std::vector<Batch> some_batches() {
  return read_batches(tiny_model() / "inputs.safetensors", {"b0.input_ids", "b1.input_ids"});
}

float lowest(const SitePoint& point) { return point.range.min.item<float>(); }
float highest(const SitePoint& point) { return point.range.max.item<float>(); }

// The extremes of each activation of a block while the blocks in front of it quantize.
std::map<SiteId, std::pair<float, float>> extremes_in(QuantizedNetwork& network,
                                                      const Segment& block,
                                                      const std::vector<Batch>& batches) {
  const SiteRange range = network.model().sites_of(block);
  SiteSet before;
  for (SiteId id = 0; id < range.first; ++id) before.insert(id);
  std::map<SiteId, std::pair<float, float>> found;
  const Pass pass(network.points(),
                  {.quantize = before, .tap = [&](SiteId id, const at::Tensor& rows, const auto&) {
                     if (!range.contains(id)) return;
                     const float low = rows.min().item<float>(), high = rows.max().item<float>();
                     auto& [min, max] = found.try_emplace(id, low, high).first->second;
                     min = std::min(min, low);
                     max = std::max(max, high);
                   }});
  for (const Batch& batch : batches) network.model().forward(batch, pass);
  return found;
}

TEST(ByBlock, RangesAreThoseBehindTheQuantizedBlocksInFront) {
  const at::NoGradGuard no_gradients;
  const std::vector<Batch> batches = some_batches();
  QuantizedNetwork network(tiny_model(), kRules), at_once(tiny_model(), kRules);
  network.solve("by_block", batches, "{steps: [calibrate]}");
  at_once.calibrate(batches);
  const std::vector<Site>& sites = network.model().sites();
  int compared = 0, moved = 0;
  for (const Segment& block : network.model().segments()) {
    for (const auto& [id, extremes] : extremes_in(network, block, batches)) {
      const SitePoint& point = *network.points().point(id);
      EXPECT_EQ(lowest(point), extremes.first) << sites[id].key();
      EXPECT_EQ(highest(point), extremes.second) << sites[id].key();
      const bool same = highest(point) == highest(*at_once.points().point(id));
      if (&block == &network.model().segments().front()) {
        EXPECT_TRUE(same) << sites[id].key();
      }
      ++compared;
      moved += same ? 0 : 1;
    }
  }
  EXPECT_GT(compared, 40);
  EXPECT_GT(moved, compared / 2);  // at 4 bits, errors of one block reach the next
  for (size_t id = 0; id < sites.size(); ++id) {
    if (sites[id].kind != SiteKind::kWeight) continue;
    const auto site = static_cast<SiteId>(id);
    EXPECT_TRUE(equal_bits(network.points().point(site)->range.max,
                           at_once.points().point(site)->range.max));
  }
}

TEST(ByBlock, IsTheSameWithOneLayerInMemory) {
  const auto logits = [](const std::string& by_layer) {
    std::string yaml = tokens_experiment(tiny_model());
    const std::string path = "path: " + tiny_model().string();
    yaml.insert(yaml.find(path) + path.size(), by_layer);
    const Experiment experiment(yaml + "pipeline: [by_block: [calibrate]]\n");
    return experiment.logits(Stage::kQuantized);
  };
  const at::Tensor whole = logits("");
  EXPECT_TRUE(equal_bits(logits(", by_layer: {}"), whole));
  EXPECT_TRUE(equal_bits(logits(", by_layer: {states: disk}"), whole));
  EXPECT_FALSE(
      equal_bits(Experiment(tokens_experiment(tiny_model())).logits(Stage::kQuantized), whole));
}

TEST(ByBlock, StepsThatNeedTheWholeNetworkAreRefused) {
  const auto refusal = [](const std::string& pipeline) {
    return message_of<ConfigError>(
        [&] { Experiment(tokens_experiment() + "pipeline: " + pipeline + "\n", /*run=*/false); });
  };
  for (const std::string step : {"gamma_migration", "token_wise_clipping", "learn_scales"}) {
    EXPECT_THAT(refusal("[by_block: [calibrate, " + step + "]]"),
                AllOf(HasSubstr("by_block.steps: " + step + " needs the whole network"),
                      HasSubstr("outside of by_block")));
  }
  EXPECT_THAT(refusal("[by_block]"), HasSubstr("steps"));
  EXPECT_THAT(refusal("[by_block: []]"), HasSubstr("steps"));
}

}  // namespace
}  // namespace quell
