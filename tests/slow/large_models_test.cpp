// The large configurations of the papers, with random weights: they run, and gamma migration keeps
// what they compute.
#include <gtest/gtest.h>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <random>

#include "tests/support/compare.h"
#include "tests/support/engine.h"
#include "tests/support/random_model.h"
#include "tests/support/temporary_folder.h"

namespace quell {
namespace {

struct Large {
  const char* name;
  ModelShape shape;
  size_t parameters;  // in millions
};

void PrintTo(const Large& model, std::ostream* out) { *out << model.name; }

constexpr int64_t kLayers = 24, kHidden = 1024, kHeads = 16;

const Large kModels[] = {
    {"BertLarge", {"bert", kLayers, kHidden, kHeads, 30522, 512}, 335},
    {"RobertaLarge", {"roberta", kLayers, kHidden, kHeads, 50265, 512}, 355},
    {"BartLarge", {"bart", kLayers / 2, kHidden, kHeads, 50265, 1024}, 406},
};

Batch random_batch(const ModelShape& shape) {
  std::mt19937_64 draw(1);
  const auto sequences = [&](std::initializer_list<size_t> lengths) {
    std::vector<TokenSequence> all;
    for (const size_t length : lengths) {
      TokenSequence& one = all.emplace_back();
      for (size_t i = 0; i < length; ++i) {
        one.ids.push_back(
            static_cast<int64_t>(3 + draw() % static_cast<uint64_t>(shape.vocabulary - 3)));
      }
    }
    return all;
  };
  Batch batch = pack(sequences({64, 9, 33}));
  if (shape.type == "bart") pack_decoder(batch, sequences({20, 5, 31}));
  return batch;
}

class LargeModels : public testing::TestWithParam<Large> {};

TEST_P(LargeModels, GammaMigrationKeepsLogits) {
  const at::NoGradGuard no_gradients;
  const TemporaryFolder folder;
  write_random_model(folder.path(), GetParam().shape, /*outliers=*/true);
  QuantizedNetwork network(folder.path(), "{rules: []}");
  size_t parameters = 0;
  for (const auto& [name, tensor] : network.model().parameters()) {
    parameters += static_cast<size_t>(tensor.numel());
  }
  EXPECT_EQ(parameters / 1'000'000, GetParam().parameters);
  const Batch batch = random_batch(GetParam().shape);
  const at::Tensor before = network.model().forward(batch, network.pass()).at("logits").clone();
  network.transform("gamma_migration");
  const at::Tensor after = network.model().forward(batch, network.pass()).at("logits");
  const double moved = max_difference(after, before), largest = before.abs().max().item<double>();
  RecordProperty("moved", fmt::format("{:.2g} of {:.2g}", moved, largest));
  // The bound of float logits against another implementation: other roundings, the same function.
  EXPECT_LE(moved, float_tolerance(before));
  EXPECT_GT(largest, 0.1);
}

INSTANTIATE_TEST_SUITE_P(Shapes, LargeModels, testing::ValuesIn(kModels),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace quell
