// Training: against PyTorch without quantization, going on after a stop, and what it leaves behind.
#include <gmock/gmock.h>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/io/safetensors.h"
#include "framework/json/json.h"
#include "framework/record/run_folder.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"
#include "tests/support/records.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using nlohmann::json;
using testing::HasSubstr;

std::filesystem::path tiny_model() { return test_data() / "parity/outlier_suppression"; }

std::vector<Batch> labelled_batches() {
  std::vector<std::string> keys;
  for (int i = 0; i < 4; ++i) keys.push_back(fmt::format("b{}.input_ids", i));
  return read_batches(tiny_model() / "inputs.safetensors", keys);
}

std::string quant(const std::string& quantizer = "fixed",
                  const std::string& placement = "outlier_suppression") {
  return fmt::format(
      "{{include: placements/{1}.yaml, rules: ["
      "{{sites: ['weight:*'], bits: 8, granularity: channel, quantizer: {0}}},"
      "{{sites: ['activation:*'], bits: 8, observer: avg_minmax, quantizer: {0}}}]}}",
      quantizer, placement);
}

// Kullback-Leibler divergence of the teacher's probabilities from the student's, in double: the
// mean over target tokens that are no padding.
double mean_divergence(const at::Tensor& student, const at::Tensor& teacher, const Batch& batch) {
  double sum = 0, tokens = 0;
  for (int64_t i = 0; i < batch.sequences(); ++i) {
    for (int64_t token = 0; token < batch.target_valid_lengths()[i]; ++token, ++tokens) {
      const int64_t row = batch.target_offsets()[i] + token;
      const at::Tensor log_p = at::log_softmax(teacher[row].to(at::kDouble), -1);
      const at::Tensor log_q = at::log_softmax(student[row].to(at::kDouble), -1);
      sum += (log_p.exp() * (log_p - log_q)).sum().item<double>();
    }
  }
  return sum / tokens;
}

// The 32 sequences of those batches; stops after a number of batches.
class StoppingData final : public TrainingData {
 public:
  explicit StoppingData(int64_t stop_after = 1000) : left_(stop_after) {}
  int64_t examples() override { return all_->examples(); }
  int64_t batch_size() const override { return all_->batch_size(); }
  Batch batch(std::span<const int64_t> positions) override {
    if (left_-- == 0) throw Error("stopped");
    return all_->batch(positions);
  }

 private:
  std::unique_ptr<TrainingData> all_ = training_data(labelled_batches());
  int64_t left_;
};

// A network, and what its pipeline has come to know.
struct Trained {
  explicit Trained(const std::string& quantizer = "fixed")
      : Trained(quantizer, tiny_model(), labelled_batches(), "outlier_suppression") {}
  Trained(const std::string& quantizer, const std::filesystem::path& model,
          std::vector<Batch> examples, const std::string& placement)
      : batches(std::move(examples)), network(model, quant(quantizer, placement)) {}

  void run(const std::string& options, TrainingData* training = nullptr,
           const std::filesystem::path& progress = {}) {
    Log log(Verbosity::kQuiet);
    PipelineContext context{network.model(), network.points(), batches, log};
    context.training = training;
    context.seed = 7;
    if (!progress.empty()) context.progress = StepProgress(progress, "name: test");
    const auto& entry = all_plugins().solvers.get("qat");
    entry.create(read_params(entry, options).get())->run(context);
    record = learning(context.records).at(0);
    trained = context.trained;
    kept_outputs = !context.float_outputs.empty();
  }
  at::Tensor parameter(const std::string& name) { return network.model().parameters().at(name); }

  std::vector<Batch> batches;
  QuantizedNetwork network;
  LearningRecord record;
  bool trained = false, kept_outputs = false;
};

constexpr const char* kFinetuning =
    "{quantize: false, data: calibration, epochs: 2, learning_rate: 1.0e-3, warmup: 0.25,"
    " weight_decay: 0.1, dropout: 0}";

TEST(Qat, FloatLossesOfPytorch) {
  const json golden = read_json_file(test_data() / "train/finetuning.json");
  Trained run;
  run.run(kFinetuning);
  const auto losses = golden["losses"].get<std::vector<double>>();
  ASSERT_EQ(run.record.loss.size(), losses.size());
  // 1e-4: Adam divides by the root of small second moments, which enlarges float32 noise.
  for (size_t i = 0; i < losses.size(); ++i) EXPECT_NEAR(run.record.loss[i], losses[i], 1e-4) << i;
  const at::Tensor classifier = run.parameter("classifier.weight");
  for (int64_t i = 0; i < classifier.size(0); ++i) {
    EXPECT_NEAR(classifier[i][3].item<double>(), golden["classifier"][i][3].get<double>(), 1e-5);
  }
}

TEST(Qat, LeavesAPlainFloatNetworkBehind) {
  Trained run;
  run.network.calibrate(run.batches);
  const at::Tensor before = run.network.logits(run.batches[0], true, false);
  run.run(kFinetuning);
  EXPECT_TRUE(run.trained);
  EXPECT_FALSE(run.kept_outputs);
  for (const auto& [name, tensor] : run.network.model().parameters()) {
    EXPECT_FALSE(tensor.requires_grad() || tensor.grad().defined()) << name;
  }
  // Its old ranges are no good any more, and neither are quantized weights that were kept.
  EXPECT_FALSE(run.network.point("weight:classifier").calibrated);
  run.network.calibrate(run.batches);
  EXPECT_FALSE(run.network.logits(run.batches[0], true, false).equal(before));
}

TEST(Qat, WeightsAndQuantizersLearnTogether) {
  Trained run("lsq_plus");
  run.network.calibrate(run.batches);
  const auto scale = [&](const std::string& site) {
    return run.network.point(site).quantizer->parameters().scale;
  };
  const at::Tensor activation = scale("activation:encoder.0.ffn.gelu");
  const at::Tensor weight = scale("weight:encoder.0.ffn.output");
  run.run(
      "{data: calibration, epochs: 4, learning_rate: 1.0e-3, warmup: 0, dropout: 0,"
      " scale_learning_rate: 1.0e-4}");
  EXPECT_TRUE(run.trained);
  EXPECT_TRUE(run.kept_outputs);  // of the network before
  const auto& loss = run.record.loss;
  EXPECT_LT(loss[12] + loss[13] + loss[14] + loss[15], loss[0] + loss[1] + loss[2] + loss[3]);
  const SitePoint& point = run.network.point("activation:encoder.0.ffn.gelu");
  EXPECT_TRUE(point.calibrated);
  EXPECT_FALSE(point.range.min.defined());
  // 16 steps of at most about 1e-4, and some.
  const double moved = max_difference(scale("activation:encoder.0.ffn.gelu"), activation);
  EXPECT_GT(moved, 0);
  EXPECT_LT(moved, 2e-3);
  EXPECT_FALSE(scale("weight:encoder.0.ffn.output").equal(weight));
}

TEST(Qat, RangesOfFixedWeightsFollowThem) {
  Trained run;
  run.network.calibrate(run.batches);
  const at::Tensor before = run.network.point("weight:classifier").range.max;
  const at::Tensor activation = run.network.point("activation:pooler.output").range.max;
  run.run("{data: calibration, epochs: 1, learning_rate: 1.0e-2, warmup: 0}");
  const SitePoint& point = run.network.point("weight:classifier");
  EXPECT_FALSE(point.range.max.equal(before));
  EXPECT_TRUE(equal_bits(point.range.max, at::amax(run.parameter("classifier.weight"), 1)));
  EXPECT_TRUE(equal_bits(run.network.point("activation:pooler.output").range.max, activation));
}

TEST(Qat, DropoutOfTheConfigurationByDefault) {
  const std::string options =
      "{quantize: false, data: calibration, epochs: 1, learning_rate: 1.0e-3, warmup: 0";
  Trained with, without, again;
  with.run(options + "}");
  again.run(options + "}");
  without.run(options + ", dropout: 0}");
  EXPECT_NE(with.record.loss[0], without.record.loss[0]);
  EXPECT_EQ(with.record.loss, again.record.loss);
}

std::vector<std::pair<std::string, at::Tensor>> results(Trained& run) {
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const auto& [name, tensor] : run.network.model().parameters()) {
    tensors.emplace_back(name, tensor);
  }
  for (size_t id = 0; id < run.network.model().sites().size(); ++id) {
    const SitePoint* point = run.network.points().point(static_cast<SiteId>(id));
    if (point == nullptr) continue;
    const QuantParameters parameters = point->quantizer->parameters();
    tensors.emplace_back(fmt::format("{}.scale", id), parameters.scale.detach());
    tensors.emplace_back(fmt::format("{}.zero", id), parameters.zero_point.detach());
  }
  return tensors;
}

struct Kind {
  const char* name;
  const char* quantizer;
  const char* options;
};

class QatStopped : public testing::TestWithParam<Kind> {};

TEST_P(QatStopped, GoesOnAndEndsInTheSameBits) {
  const std::string options = fmt::format(
      "{{epochs: 2, learning_rate: 1.0e-3, checkpoint_every: 3, {}}}", GetParam().options);
  const TemporaryFolder folder;
  const char* quantizer = GetParam().quantizer;
  Trained whole(quantizer), stopped(quantizer), resumed(quantizer), done(quantizer);
  for (Trained* run : {&whole, &stopped, &resumed, &done}) run->network.calibrate(run->batches);
  StoppingData all;
  whole.run(options, &all);
  ASSERT_EQ(whole.record.loss.size(), 8u);
  StoppingData some(7);  // a teacher takes four of them
  EXPECT_THROW(stopped.run(options, &some, folder / "progress"), Error);
  EXPECT_FALSE(stopped.parameter("classifier.weight").requires_grad());
  StoppingData rest(5);
  resumed.run(options, &rest, folder / "progress");
  EXPECT_EQ(resumed.record.loss, whole.record.loss);
  EXPECT_EQ(resumed.record.learning_rate, whole.record.learning_rate);
  const auto expected = results(whole), found = results(resumed);
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_TRUE(equal_bits(found[i].second, expected[i].second)) << found[i].first;
  }
  // Once more: everything is done already.
  StoppingData none(0);
  done.run(options, &none, folder / "progress");
  EXPECT_EQ(done.record.loss, whole.record.loss);
  EXPECT_TRUE(
      equal_bits(done.parameter("classifier.weight"), whole.parameter("classifier.weight")));
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, QatStopped,
    testing::Values(Kind{"float", "fixed", "quantize: false"},
                    Kind{"fixed_grids", "fixed", "dropout: 0"},
                    Kind{"learned_grids", "lsq_plus", "scale_learning_rate: 1.0e-4"},
                    Kind{"learned_logarithms", "{type: lsq, log_domain: true}", "warmup: 0"},
                    Kind{"learned_ranges", "{type: learned_range, log_domain: true}", "warmup: 0"},
                    Kind{"ranges_that_follow", "fixed", "follow: all"},
                    Kind{"teacher", "lsq", "distillation: {weight: 0.5, temperature: 2}"}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(Qat, RangesFollowOnlyWhereTheyAreAskedTo) {
  const auto moved = [](const std::string& follow) {
    Trained run;
    run.network.calibrate(run.batches);
    const at::Tensor weight = run.network.point("weight:classifier").quantizer->parameters().scale;
    const SitePoint& gelu = run.network.point("activation:encoder.0.ffn.gelu");
    const at::Tensor activation = gelu.quantizer->parameters().scale;
    run.run(
        fmt::format("{{data: calibration, epochs: 1, warmup: 0, learning_rate: 1.0e-2, "
                    "follow: {}}}",
                    follow));
    return std::pair(
        !equal_bits(weight, run.network.point("weight:classifier").quantizer->parameters().scale),
        !equal_bits(activation, gelu.quantizer->parameters().scale));
  };
  EXPECT_EQ(moved("none"), std::pair(false, false));
  EXPECT_EQ(moved("weights"), std::pair(true, false));
  EXPECT_EQ(moved("activations"), std::pair(false, true));
  EXPECT_EQ(moved("all"), std::pair(true, true));
}

TEST(Qat, RefusesWhatItCannotGoOnWith) {
  const std::vector<Batch> batches = labelled_batches();
  QuantizedNetwork network(tiny_model(),
                           "{include: placements/outlier_suppression.yaml, rules: ["
                           "{sites: ['weight:*', 'activation:*'], bits: 8},"
                           "{sites: 'activation:*', observer: mse}]}");
  network.calibrate(batches);
  EXPECT_THAT(message_of<ConfigError>([&] {
                network.solve("qat", batches, "{data: calibration, epochs: 1, follow: all}");
              }),
              testing::AllOf(HasSubstr("mse"), HasSubstr("checkpoint_every: 0")));
  EXPECT_NO_THROW(network.solve("qat", batches,
                                "{data: calibration, epochs: 1, follow: all, "
                                "checkpoint_every: 0}"));
  EXPECT_THAT(message_of<ConfigError>([&] {
                network.solve("qat", batches, "{data: calibration, epochs: 1, clamp_scores: true}");
              }),
              HasSubstr("clamp_scores"));
}

TEST(Qat, DistillationComparesWithTheNetworkBefore) {
  const std::string options =
      "{quantize: false, data: calibration, epochs: 2, warmup: 0, weight_decay: 0, dropout: 0,"
      " schedule: constant, learning_rate: 1.0e-9, distillation: {weight: 1}}";
  Trained same;
  for (Batch& batch : same.batches) batch.labels = at::Tensor();  // they are not needed
  same.run(options);
  // A network that hardly moves is its own teacher.
  for (const double loss : same.record.loss) EXPECT_NEAR(loss, 0, 1e-6);
  Trained quantized("lsq");
  quantized.network.calibrate(quantized.batches);
  quantized.run("{data: calibration, epochs: 1, dropout: 0, distillation: {weight: 1}}");
  EXPECT_GT(quantized.record.loss[0], 1e-6);  // the teacher is the float network
}

std::filesystem::path bart(const std::string& use) {
  return test_data() / ("parity/outlier_suppression_bart_" + use);
}

// A BART that writes has a row of logits for each target token. Batches of other lengths, with and
// without padding, in the order of training data or as they are.
TEST(Qat, ModelsThatWriteAreDistilledTokenByToken) {
  for (const int64_t padded_to : {0, 32}) {
    std::vector<Batch> batches = read_batches(bart("gen") / "inputs.safetensors",
                                              {"b0.input_ids", "b1.input_ids"}, padded_to);
    Trained same("fixed", bart("gen"), batches, "outlier_suppression_bart");
    same.run(
        "{quantize: false, data: calibration, epochs: 2, warmup: 0, weight_decay: 0, dropout: 0,"
        " schedule: constant, learning_rate: 1.0e-9, distillation: {weight: 1}}");
    ASSERT_EQ(same.record.loss.size(), 4u);
    for (const double loss : same.record.loss) EXPECT_NEAR(loss, 0, 1e-6);
    Trained run("fixed", bart("gen"), batches, "outlier_suppression_bart");
    run.network.calibrate(run.batches);
    std::vector<double> expected;
    for (const Batch& batch : run.batches) {
      expected.push_back(mean_divergence(run.network.logits(batch, true, true),
                                         run.network.logits(batch, false, false), batch));
    }
    run.run(
        "{data: calibration, epochs: 1, dropout: 0, warmup: 0, schedule: constant,"
        " learning_rate: 1.0e-12, distillation: {weight: 1}}");
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_GT(expected[i], 1e-6);
      EXPECT_NEAR(run.record.loss[i], expected[i], 1e-4 * expected[i]) << i;
    }
  }
}

TEST(Qat, AStoppedRunKeepsTheTeacherOfAModelThatWrites) {
  const TemporaryFolder folder;
  const std::string options =
      "{data: calibration, epochs: 1, dropout: 0, learning_rate: 1.0e-3, checkpoint_every: 1,"
      " distillation: {weight: 1}}";
  const auto start = [] {
    auto run = std::make_unique<Trained>(
        "fixed", bart("gen"),
        read_batches(bart("gen") / "inputs.safetensors", {"b0.input_ids", "b1.input_ids"}),
        "outlier_suppression_bart");
    run->network.calibrate(run->batches);
    return run;
  };
  const auto whole = start(), again = start();
  whole->run(options, nullptr, folder / "progress");
  // Everything is done already: what the teacher and the network were is read back.
  again->run(options, nullptr, folder / "progress");
  EXPECT_EQ(again->record.loss, whole->record.loss);
  const NamedTensors stored = StepProgress(folder / "progress", "name: test").saved();
  const at::Tensor first = stored.at("teacher.logits/first");
  EXPECT_EQ(first.numel(), 1 + whole->batches[0].sequences() + whole->batches[1].sequences());
  EXPECT_EQ(first[-1].item<int64_t>(), stored.at("teacher.logits").size(0));
}

TEST(Qat, ScoresOfTokensHaveNoTeacher) {
  Trained run("fixed", bart("qa"),
              read_batches(bart("qa") / "inputs.safetensors", {"b0.input_ids"}),
              "outlier_suppression_bart");
  EXPECT_THAT(message_of<ConfigError>([&] {
                run.run("{quantize: false, data: calibration, distillation: {weight: 1}}");
              }),
              HasSubstr("a score for every token"));
}

TEST(Qat, TextsAreLearntFromTheFloatNetworkAlone) {
  Trained run("fixed", bart("gen"),
              read_batches(bart("gen") / "inputs.safetensors", {"b0.input_ids"}),
              "outlier_suppression_bart");
  for (const char* distillation : {"", ", distillation: {weight: 0.5}"}) {
    EXPECT_THAT(message_of<ConfigError>([&] {
                  run.run(fmt::format("{{quantize: false, data: calibration{}}}", distillation));
                }),
                HasSubstr("distillation: {weight: 1}"));
  }
}

TEST(Qat, MistakesAreExplained) {
  Trained run;
  EXPECT_THAT(message_of<ConfigError>([&] { run.run("{quantize: false}"); }),
              HasSubstr("data: calibration"));
  EXPECT_THAT(
      message_of<ConfigError>([&] { run.run("{quantize: false, data: calibration, samples: 3}"); }),
      HasSubstr("as they are"));
  EXPECT_THAT(message_of<Error>([&] { run.run("{data: calibration}"); }), HasSubstr("calibrate"));
  StoppingData data;
  EXPECT_THAT(message_of<ConfigError>([&] { run.run("{quantize: false, samples: 1000}", &data); }),
              HasSubstr("32 training examples"));
  EXPECT_THAT(message_of<Error>([&] {
                run.run("{quantize: false, learning_rate: 1.0e+30, warmup: 0, data: calibration}");
              }),
              HasSubstr("lower the learning rate"));
}

TEST(Qat, AnotherRunsProgressIsRefused) {
  const TemporaryFolder folder;
  const auto file = folder / "progress";
  StepProgress(file, "name: test").save({{"adam.steps", at::full({1}, 3, at::kLong)}});
  Trained run;
  EXPECT_THAT(message_of<DataError>([&] { run.run(kFinetuning, nullptr, file); }),
              HasSubstr("another run"));
}

std::string experiment(const std::filesystem::path& model, const std::string& pipeline) {
  return fmt::format(R"(
name: trained
threads: 1
model: {{path: {0}}}
task:
  type: tokens
  path: {1}/inputs.safetensors
  keys: "b{{}}.input_ids"
  calibration_batches: [0-3]
  evaluation_batches: [4]
quant:
  include: placements/outlier_suppression.yaml
  rules: [{{sites: ["weight:*", "activation:*"], bits: 8, observer: minmax}}]
pipeline: [{2}]
stages: [float, transformed]
)",
                     model.string(), tiny_model().string(), pipeline);
}

TEST(Qat, TheRunFolderHoldsAModelThatCanBeLoaded) {
  const std::string training = fmt::format("qat: {}", kFinetuning);
  for (const std::string before : {"", "gamma_migration, "}) {
    Experiment trained(experiment(tiny_model(), before + training + ", calibrate"));
    const TemporaryFolder folder;
    write_run_folder(folder.path(), trained.record(), Log(Verbosity::kQuiet));
    const Experiment loaded(experiment(folder / "model", "calibrate"));
    EXPECT_TRUE(equal_bits(loaded.logits(Stage::kFloat), trained.logits(Stage::kTransformed)));
    EXPECT_FALSE(loaded.logits(Stage::kFloat).equal(trained.logits(Stage::kFloat)));
    // Another run in the same folder that trains nothing leaves no model of another network.
    Experiment plain(experiment(tiny_model(), "calibrate"));
    write_run_folder(folder.path(), plain.record(), Log(Verbosity::kQuiet));
    EXPECT_FALSE(std::filesystem::exists(folder / "model"));
  }
}

}  // namespace
}  // namespace quell
