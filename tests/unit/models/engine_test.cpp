// Models that an engine computes: what LibTorch computes but for roundings, whether or not
// operations are joined.
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <set>
#include <vector>

#include "framework/model/packed_engine.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"

namespace quell {
namespace {

constexpr const char* kFloat = "{rules: []}";

class Engines : public testing::TestWithParam<const char*> {
 protected:
  Engines()
      : network_(test_data() / GetParam(), kFloat),
        batch_(read_batches(test_data() / GetParam() / "inputs.safetensors", {"b4.input_ids"})[0]) {
  }

  Outputs outputs(PassOptions options = {}) {
    return network_.model().forward(batch_, Pass(network_.points(), std::move(options)));
  }

  const at::NoGradGuard no_gradients_;
  QuantizedNetwork network_;
  const PackedEngine engine_;
  Batch batch_;
};

TEST_P(Engines, GiveTheOutputsOfLibTorch) {
  const Outputs expected = outputs();
  for (const auto& [name, found] : outputs({.engine = &engine_})) {
    EXPECT_LE(max_difference(found, expected.at(name)), float_tolerance(expected.at(name))) << name;
  }
}

// Who looks at sites sees all of them, and joining does not change what is computed.
TEST_P(Engines, ShowEverySite) {
  std::set<SiteId> seen, seen_of_engine;
  const auto tap = [](std::set<SiteId>& sites) {
    return [&](SiteId id, const at::Tensor&, const at::Tensor&) { sites.insert(id); };
  };
  outputs({.tap = tap(seen)});
  const Outputs apart = outputs({.tap = tap(seen_of_engine), .engine = &engine_});
  EXPECT_EQ(seen, seen_of_engine);
  for (const auto& [name, found] : outputs({.engine = &engine_})) {
    EXPECT_LE(max_difference(found, apart.at(name)), float_tolerance(found)) << name;
  }
}

// Gradients are LibTorch's.
TEST_P(Engines, LeaveGradientsAlone) {
  const at::AutoGradMode gradients(true);
  const Outputs expected = outputs();
  for (const auto& [name, found] : outputs({.engine = &engine_})) {
    EXPECT_TRUE(equal_bits(found, expected.at(name))) << name;
  }
}

TEST(EngineOfBert, SequencesDoNotDependOnTheirCompany) {
  const at::NoGradGuard no_gradients;
  QuantizedNetwork network(test_data() / "parity/outlier_suppression", kFloat);
  const PackedEngine engine;
  const Pass pass(network.points(), {.engine = &engine});
  std::vector<TokenSequence> all;
  for (const int64_t length : {3, 20, 1, 13}) {
    TokenSequence& one = all.emplace_back();
    for (int64_t i = 0; i < length; ++i) one.ids.push_back((7 * i + length) % 50);
    one.segment_ids.assign(one.ids.size(), 0);
  }
  const at::Tensor together = network.model().forward(pack(all), pass).at("logits");
  for (int64_t i = 0; i < std::ssize(all); ++i) {
    const Batch alone = pack(std::vector<TokenSequence>{all[i]});
    EXPECT_TRUE(equal_bits(network.model().forward(alone, pass).at("logits"),
                           together.narrow(0, i, 1).contiguous()))
        << "sequence " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Engines,
                         testing::Values("parity/outlier_suppression",
                                         "parity/outlier_suppression_bart_gen",
                                         "parity/outlier_suppression_bart_cls", "models/llama",
                                         "models/opt_post_norm", "models/gpt2", "models/bloom",
                                         "models/bloom_7_heads", "models/gpt_neox"),
                         [](const auto& test) {
                           const std::string name = test.param;
                           return name.substr(name.find('/') + 1);
                         });

}  // namespace
}  // namespace quell
