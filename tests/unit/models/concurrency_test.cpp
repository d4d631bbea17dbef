// Passes through one quantized network from several threads at once, as evaluation and searches
// make them. (Under ThreadSanitizer this test says more than here.)
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <thread>

#include "tests/support/compare.h"
#include "tests/support/engine.h"

namespace quell {
namespace {

struct Network {
  const char* folder;
  const char* placement;
};

class Concurrency : public testing::TestWithParam<Network> {};

TEST_P(Concurrency, PassesDoNotDisturbEachOther) {
  const at::NoGradGuard no_gradients;
  const auto folder = test_data() / "parity" / GetParam().folder;
  QuantizedNetwork network(
      folder, fmt::format("{{include: placements/{}.yaml, rules: [{{sites: ['weight:*', "
                          "'activation:*'], bits: 6}}, {{sites: 'activation:*attention.query', "
                          "granularity: token}}]}}",
                          GetParam().placement));
  std::vector<std::string> keys;
  for (int i = 0; i < 4; ++i) keys.push_back(fmt::format("b{}.input_ids", i));
  const std::vector<Batch> batches = read_batches(folder / "inputs.safetensors", keys);
  network.calibrate(batches);
  std::vector<at::Tensor> expected;
  for (const Batch& batch : batches) expected.push_back(network.logits(batch, true, true));
  for (size_t id = 0; id < network.model().sites().size(); ++id) {
    network.points().weight_changed(static_cast<SiteId>(id));  // quantized by whoever comes first
  }
  const Pass pass = network.pass(true, true);
  constexpr int kRounds = 5;
  std::vector<int> wrong(batches.size(), 0);
  std::vector<std::thread> threads;
  for (size_t batch = 0; batch < batches.size(); ++batch) {
    threads.emplace_back([&, batch] {
      const at::NoGradGuard none_here;
      for (int round = 0; round < kRounds; ++round) {
        const Outputs outputs = network.model().forward(batches[batch], pass);
        wrong[batch] += equal_bits(outputs.at("logits"), expected[batch]) ? 0 : 1;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(batches.size(), 0));
}

INSTANTIATE_TEST_SUITE_P(Models, Concurrency,
                         testing::Values(Network{"outlier_suppression", "outlier_suppression"},
                                         Network{"outlier_suppression_bart_gen",
                                                 "outlier_suppression_bart"}),
                         [](const auto& test) { return std::string(test.param.folder); });

}  // namespace
}  // namespace quell
