// The laws of engines, on everything in the registry: they compute what LibTorch computes but for
// roundings, whether or not operations are joined.
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <set>
#include <tuple>
#include <vector>

#include "tests/support/compare.h"
#include "tests/support/engine.h"

namespace quell {
namespace {

constexpr const char* kFloat = "{rules: []}";

class Engines : public testing::TestWithParam<std::tuple<std::string, const char*>> {
 protected:
  Engines()
      : engine_(make_engine(std::get<0>(GetParam()))),
        folder_(test_data() / std::get<1>(GetParam())),
        network_(folder_, kFloat),
        batch_(read_batches(folder_ / "inputs.safetensors", {"b4.input_ids"})[0]) {}

  Outputs outputs(PassOptions options = {}) {
    return network_.model().forward(batch_, Pass(network_.points(), std::move(options)));
  }

  const at::NoGradGuard no_gradients_;
  const std::unique_ptr<const Engine> engine_;
  const std::filesystem::path folder_;
  QuantizedNetwork network_;
  Batch batch_;
};

TEST_P(Engines, GiveTheOutputsOfLibTorch) {
  const Outputs expected = outputs();
  for (const auto& [name, found] : outputs({.engine = engine_.get()})) {
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
  const Outputs apart = outputs({.tap = tap(seen_of_engine), .engine = engine_.get()});
  EXPECT_EQ(seen, seen_of_engine);
  for (const auto& [name, found] : outputs({.engine = engine_.get()})) {
    EXPECT_LE(max_difference(found, apart.at(name)), float_tolerance(found)) << name;
  }
}

// Gradients are LibTorch's.
TEST_P(Engines, LeaveGradientsAlone) {
  const at::AutoGradMode gradients(true);
  const Outputs expected = outputs();
  for (const auto& [name, found] : outputs({.engine = engine_.get()})) {
    EXPECT_TRUE(equal_bits(found, expected.at(name))) << name;
  }
}

TEST(Packed, SequencesDoNotDependOnTheirCompany) {
  const at::NoGradGuard no_gradients;
  QuantizedNetwork network(test_data() / "parity/outlier_suppression", kFloat);
  const auto engine = make_engine("packed");
  const Pass pass(network.points(), {.engine = engine.get()});
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

INSTANTIATE_TEST_SUITE_P(
    Models, Engines,
    testing::Combine(testing::ValuesIn(all_plugins().engines.names()),
                     testing::Values("parity/outlier_suppression",
                                     "parity/outlier_suppression_bart_gen",
                                     "parity/outlier_suppression_bart_cls", "models/llama",
                                     "models/opt_post_norm", "models/gpt2", "models/bloom",
                                     "models/bloom_7_heads", "models/gpt_neox")),
    [](const auto& test) {
      const std::string folder = std::get<1>(test.param);
      return std::get<0>(test.param) + "_" + folder.substr(folder.find('/') + 1);
    });

}  // namespace
}  // namespace quell
