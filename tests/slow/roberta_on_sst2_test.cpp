// A trained RoBERTa on all 872 development sentences of SST-2, tokenizer and all, against Hugging
// Face transformers.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "framework/io/safetensors.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"

namespace quell {
namespace {

TEST(RobertaOnSst2, LogitsAndAccuracyOfTheLibrary) {
  const auto model = shared_folder() / "models/tiny-roberta-sst2";
  const auto data = shared_folder() / "data/glue/SST-2";
  if (!std::filesystem::exists(model) || !std::filesystem::exists(data)) {
    GTEST_SKIP() << "needs " << model << " and " << data;
  }
  const Experiment experiment(fmt::format(R"(
name: roberta-sst2
model: {{path: {}}}
task: {{type: glue, name: sst2, path: {}, trim: true}}
pipeline: []
stages: [float]
)",
                                          model.string(), data.string()));
  const at::Tensor expected =
      SafetensorsFile(model / "golden_sst2_dev_logits.safetensors").read("dev_logits");
  EXPECT_LE(max_difference(experiment.logits(Stage::kFloat), expected), float_tolerance(expected));
  EXPECT_DOUBLE_EQ(experiment.metric(Stage::kFloat, "accuracy"), 689.0 / 872.0);
}

}  // namespace
}  // namespace quell
