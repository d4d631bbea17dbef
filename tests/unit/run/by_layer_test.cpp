// `model.by_layer`: the tensors of one layer in memory at a time, and the same bits.
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "framework/json/json.h"
#include "framework/model/residency.h"
#include "framework/run/model_size.h"
#include "tests/support/compare.h"
#include "tests/support/small_experiment.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string experiment_yaml(const std::string& model_options, const std::string& more = "",
                            const std::filesystem::path& model = tiny_model()) {
  std::string yaml = tokens_experiment(model);
  const std::string whole = "model: {path: " + model.string() + "}";
  yaml.replace(yaml.find(whole), whole.size(),
               "model: {path: " + model.string() + model_options + "}");
  return yaml + more;
}

class ByLayerStates : public testing::TestWithParam<const char*> {};

TEST_P(ByLayerStates, GivesTheSameBits) {
  Experiment whole(experiment_yaml("")), by_layer(experiment_yaml(GetParam()));
  for (const Stage stage :
       {Stage::kFloat, Stage::kWeightsOnly, Stage::kActivationsOnly, Stage::kQuantized}) {
    EXPECT_TRUE(equal_bits(by_layer.logits(stage), whole.logits(stage))) << to_string(stage);
  }
  EXPECT_EQ(by_layer.record().weight_errors, whole.record().weight_errors);
  const auto &found = by_layer.record().site_errors, &expected = whole.record().site_errors;
  ASSERT_EQ(found.size(), expected.size());
  ASSERT_GT(found.size(), 0u);
  for (const auto& [id, error] : expected) {
    EXPECT_EQ(found.at(id).sqnr_db, error.sqnr_db);
    EXPECT_EQ(found.at(id).network_sqnr_db, error.network_sqnr_db);
  }
}

INSTANTIATE_TEST_SUITE_P(States, ByLayerStates,
                         testing::Values(", by_layer: {}", ", by_layer: {states: disk}"));

// A language model that is transformed, with all that its run writes.
class ByLayerTransforms : public testing::TestWithParam<const char*> {};

TEST_P(ByLayerTransforms, GiveTheSameBits) {
  const auto run = [](const std::string& by_layer) {
    return Experiment(fmt::format(R"(
name: language
threads: 1
model: {{path: {0}/model{1}}}
task: {{type: perplexity, path: {0}/items, dev_file: {0}/items/wikitext.txt, length: 64}}
calibration: {{file: {0}/items/wikitext.txt, samples: 4}}
quant: {{include: placements/outlier_suppression_plus.yaml, rules: [{{sites: ["weight:*", "activation:*"], bits: 6}}]}}
pipeline: {2}
stages: [float, transformed, quantized]
)",
                                  (test_data() / "language").string(), by_layer, GetParam()));
  };
  const Experiment whole = run("");
  for (const char* by_layer : {", by_layer: {}", ", by_layer: {states: disk}"}) {
    const Experiment found = run(by_layer);
    for (const Stage stage : {Stage::kFloat, Stage::kTransformed, Stage::kQuantized}) {
      EXPECT_EQ(found.metric(stage, "perplexity"), whole.metric(stage, "perplexity"));
    }
    ASSERT_EQ(found.record().transforms.size(), whole.record().transforms.size());
    for (size_t i = 0; i < whole.record().transforms.size(); ++i) {
      const TransformCheck &own = found.record().transforms[i],
                           &expected = whole.record().transforms[i];
      EXPECT_EQ(own.max_difference, expected.max_difference);
      EXPECT_EQ(own.max_output, expected.max_output);
      EXPECT_GT(own.max_difference, 0);
      EXPECT_LT(own.max_difference, 1e-3 * own.max_output);
    }
    EXPECT_EQ(found.record().weight_errors, whole.record().weight_errors);
  }
}

INSTANTIATE_TEST_SUITE_P(Pipelines, ByLayerTransforms,
                         testing::Values("[smooth_quant, shift_scale, calibrate]",
                                         "[by_block: [shift_scale, calibrate]]"));

TEST(ByLayer, StepsThatNeedTheWholeModelAreRefused) {
  const auto refusal = [](const std::string& more) {
    return message_of<ConfigError>([&] { Experiment(experiment_yaml(", by_layer: {}", more)); });
  };
  for (const std::string step : {"shift_scale", "smooth_quant", "token_wise_clipping"}) {
    EXPECT_THAT(
        refusal("pipeline: [" + step + ", calibrate]\n"),
        AllOf(HasSubstr("model.by_layer"), HasSubstr(step), HasSubstr("leave `by_layer` out")));
  }
  EXPECT_THAT(refusal("record: {outliers: {}}\n"), HasSubstr("record.outliers"));
}

TEST(ByLayer, MigratesGammas) {
  const std::string pipeline = "pipeline: [gamma_migration, calibrate]\n";
  const Experiment whole(experiment_yaml("", pipeline)),
      by_layer(experiment_yaml(", by_layer: {}", pipeline));
  EXPECT_TRUE(equal_bits(by_layer.logits(Stage::kQuantized), whole.logits(Stage::kQuantized)));
}

TEST(Residency, HoldsOneSegmentAtATime) {
  const Checkpoint checkpoint(tiny_model());
  const auto model = ModelChoice(all_plugins().models, "bert").create(checkpoint);
  const MatchedTensors tensors = model->match(checkpoint);
  SitePoints points(model->sites());
  const Rewrites rewrites(*model, points);
  const auto residency = one_at_a_time(*model, tensors, points, rewrites);
  for (size_t held = 0; held < model->segments().size(); ++held) {
    const Residency::Lease lease = residency->acquire(held);
    for (size_t i = 0; i < model->segments().size(); ++i) {
      for (const ModelTensor& tensor : model->segments()[i].tensors) {
        if (!tensor.is_stored) continue;
        EXPECT_EQ(tensor.place->defined(), i == held) << tensor.stored.name;
      }
    }
  }
}

// A model is declared from config.json alone.
TEST(Declared, WithoutWeights) {
  const TemporaryFolder folder;
  const std::filesystem::path model = folder.path() / "model";
  std::filesystem::create_directories(model);
  std::filesystem::copy(tiny_model() / "config.json", model / "config.json");
  Experiment declared(experiment_yaml("", "", model), /*run=*/false);
  Experiment loaded(experiment_yaml(""), /*run=*/false);
  const auto size_of = [](Experiment& experiment) {
    return model_size(*experiment.bench().model, experiment.bench().plan);
  };
  EXPECT_EQ(size_of(declared).float_bytes, size_of(loaded).float_bytes);
  EXPECT_EQ(size_of(declared).quantized_bytes, size_of(loaded).quantized_bytes);
  EXPECT_THAT(message_of<DataError>([&] {
                Log log(Verbosity::kQuiet);
                run_experiment(std::move(declared.bench()), log);
              }),
              HasSubstr("no weights"));
}

}  // namespace
}  // namespace quell
