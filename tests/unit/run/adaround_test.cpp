// AdaRound on whole networks: what is learned, what it is learned from, and what is stored of it.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <numeric>

#include "framework/io/hdf5_writer.h"
#include "framework/record/results_file.h"
#include "solvers/adaround/rounding_optimizer.h"
#include "tests/support/compare.h"
#include "tests/support/small_experiment.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using testing::HasSubstr;

const std::string kWeights4 =
    "{sites: 'weight:*', quantize: true, bits: 4, symmetric: true, observer: mse, quantizer: "
    "adaround";
const std::string kRules = "rules: [" + kWeights4 + "}]";

std::vector<Batch> some_batches() {
  return read_batches(tiny_model() / "inputs.safetensors", {"b0.input_ids", "b1.input_ids"});
}

// A network with learned rounding.
class Learned {
 public:
  explicit Learned(const std::string& params, const std::string& rules = kRules,
                   bool migrated = false)
      : network(tiny_model(), rules) {
    const at::NoGradGuard no_gradients;
    if (migrated) network.transform("gamma_migration");
    network.calibrate(some_batches());
    nearest = logits();
    network.solve("adaround", some_batches(), params);
    learned = logits();
  }
  at::Tensor logits() {
    const at::NoGradGuard no_gradients;
    return network.logits(some_batches()[0], /*weights=*/true, /*activations=*/false);
  }
  // Mean squared distance of logits to those of the float network.
  double distance(const at::Tensor& found) {
    const at::NoGradGuard no_gradients;
    return found.sub(network.logits(some_batches()[0], false, false))
        .square()
        .mean()
        .item<double>();
  }

  QuantizedNetwork network;
  at::Tensor nearest, learned;
};

TEST(AdaRound, BringsTheOutputsNearer) {
  for (const char* params : {"{iterations: 300, learning_rate: 0.01}",
                             "{iterations: 300, learning_rate: 0.01, loss: batches}",
                             "{iterations: 300, learning_rate: 0.01, reconstruct: block}",
                             "{iterations: 300, learning_rate: 0.01, grid: mse_out_asym}"}) {
    SCOPED_TRACE(params);
    Learned run(params);
    EXPECT_LT(run.distance(run.learned), 0.7 * run.distance(run.nearest));
  }
}

TEST(AdaRound, WorksOnEveryScaleAndAfterGammaMigration) {
  const std::string params = "{iterations: 200, learning_rate: 0.01}";
  for (const char* scales :
       {"granularity: channel, axis: 0", "granularity: channel, axis: 0, symmetric: false",
        "granularity: tensor, grid: qualcomm"}) {
    SCOPED_TRACE(scales);
    Learned run(params, "rules: [" + kWeights4 + "}, {sites: 'weight:*', " + scales + "}]");
    EXPECT_LT(run.distance(run.learned), 0.8 * run.distance(run.nearest));
  }
  Learned migrated(params, kRules, /*migrated=*/true);
  EXPECT_LT(migrated.distance(migrated.learned), 0.8 * migrated.distance(migrated.nearest));
}

TEST(AdaRound, CodesAreNeighboursAndWhatTheNetworkRunsWith) {
  Learned run("{iterations: 100, learning_rate: 0.01}");
  const at::NoGradGuard no_gradients;
  int64_t changed = 0;
  for (size_t i = 0; i < run.network.model().sites().size(); ++i) {
    const auto id = static_cast<SiteId>(i);
    const SitePoint* point = run.network.points().point(id);
    if (point == nullptr) continue;
    const at::Tensor weight = run.network.model().weight(id);
    const auto [codes, parameters] = point->quantizer->codes(weight);
    const at::Tensor value = codes.to(at::kFloat).sub(parameters.zero_point).mul_(parameters.scale);
    EXPECT_TRUE(equal_bits(value, run.network.points().quantized_weight(id, weight)));
    const at::Tensor quotient = weight.div(parameters.scale).clamp(-8, 15);
    const at::Tensor inside = quotient.abs().lt(7);
    const at::Tensor step = codes.to(at::kFloat).sub(quotient).abs();
    EXPECT_LE(step.index({inside}).max().item<float>(), 1.0f) << i;
    changed += step.gt(0.5).logical_and_(inside).sum().item<int64_t>();
  }
  EXPECT_GT(changed, 100);
}

// Where inputs lie, and how many threads there are, changes no bit.
TEST(AdaRound, HasTheSameBitsOnDiskAndWithAnyNumberOfThreads) {
  const int threads = at::get_num_threads();
  for (const std::string params :
       {"iterations: 40, loss: batches", "iterations: 40", "iterations: 10, reconstruct: block"}) {
    SCOPED_TRACE(params);
    at::set_num_threads(1);
    const at::Tensor expected = Learned("{" + params + "}").learned;
    EXPECT_TRUE(equal_bits(Learned("{" + params + ", memory: 0}").learned, expected));
    at::set_num_threads(4);
    EXPECT_TRUE(equal_bits(Learned("{" + params + "}").learned, expected));
    at::set_num_threads(threads);
  }
}

TEST(AdaRound, LeavesActivationsUnquantizedAtRandom) {
  const std::string rules = "rules: [" + kWeights4 +
                            "}, {sites: 'activation:*', quantize: true, bits: 4, symmetric: false,"
                            " observer: minmax}]";
  const std::string params = "{iterations: 20, reconstruct: block, quantize_activations: true";
  const at::Tensor whole = Learned(params + "}", rules).learned;
  const at::Tensor dropped = Learned(params + ", drop: 0.5}", rules).learned;
  EXPECT_TRUE(equal_bits(Learned(params + ", drop: 0.5}", rules).learned, dropped));
  EXPECT_FALSE(equal_bits(whole, dropped));
}

// A linear with inputs of both networks.
struct LinearCase {
  LinearCase() {
    at::manual_seed(3);
    linear = {at::randn({24, 16}).mul_(0.1), at::randn({24})};
    for (int64_t i = 0; i <= 12; ++i) inputs.begins.push_back(5 * i);
    inputs.original = at::randn({60, 16});
    inputs.quantized = inputs.original.add(at::randn({60, 16}), 0.1);
    spec.bits = 3;
    spec.symmetric = true;
    spec.is_weight = true;
    parameters = parameters_from_range(min_max(linear.weight, spec), spec);
  }
  std::unique_ptr<Reconstruction> make(RoundingLoss loss, const Operand& operand) {
    AdaRoundOptions options;
    options.loss = loss;
    auto result = make_reconstruction(
        operand, options,
        [](int64_t) {
          std::vector<int64_t> all(12);
          std::iota(all.begin(), all.end(), 0);
          return all;
        },
        memory);
    result->add(inputs);
    return result;
  }
  Linear linear;
  OperationInputs inputs;
  QuantSpec spec;
  QuantParameters parameters;
  RowMemory memory{1 << 20, std::filesystem::temp_directory_path()};
};

// The loss from moments is that of all rows, and so is its gradient.
TEST(AdaRoundMoments, AreTheLossOfAllRows) {
  const at::NoGradGuard no_gradients;
  LinearCase one;
  const at::Tensor weights = one.linear.weight.add(at::randn({24, 16}), 0.05);
  double expected_loss = 0;
  at::Tensor expected_gradient;
  {
    const at::AutoGradMode gradients(true);
    const at::Tensor leaf = weights.to(at::kDouble).set_requires_grad(true);
    const at::Tensor error =
        one.inputs.quantized.to(at::kDouble)
            .matmul(leaf.t())
            .sub(one.inputs.original.to(at::kDouble).matmul(one.linear.weight.to(at::kDouble).t()));
    const at::Tensor sum = error.square().sum();
    sum.backward();
    expected_loss = sum.item<double>();
    expected_gradient = leaf.grad().div(2).to(at::kFloat);
  }
  for (const RoundingLoss loss : {RoundingLoss::kMoments, RoundingLoss::kBatches}) {
    const auto outputs = one.make(loss, &one.linear);
    outputs->start(0);
    EXPECT_DOUBLE_EQ(outputs->loss_factor(), 1.0 / (12 * 24));
    at::Tensor gradient = at::empty({24, 16});
    const double found = outputs->squared_error(weights, gradient);
    // Sums of 60 rows in float32.
    EXPECT_NEAR(found, expected_loss, 1e-5 * expected_loss);
    EXPECT_LE(max_difference(gradient, expected_gradient),
              1e-5 * expected_gradient.abs().max().item<double>());
    EXPECT_NEAR(outputs->mean_squared_error(weights), expected_loss / (60 * 24),
                1e-5 * expected_loss / (60 * 24));
  }
}

// Of gains and entries of tables each has a best rounding of its own: tried out one by one.
TEST(AdaRoundMoments, KnowTheBestGainsAndEntries) {
  const at::NoGradGuard no_gradients;
  LinearCase one;
  const Norm norm{.weight = at::randn({16}).abs_().add_(0.5), .bias = at::randn({16})};
  const QuantParameters parameters =
      parameters_from_range(min_max(norm.weight, one.spec), one.spec);
  const auto outputs = one.make(RoundingLoss::kMoments, &norm);
  SoftWeight soft(norm.weight, parameters, one.spec, kernels::Relaxation::kHardSigmoid, 20);
  soft.choose_nearer(outputs->separate_optimum());
  const at::Tensor best = soft.hard_values();
  const double least = outputs->mean_squared_error(best);
  const at::Tensor lower = norm.weight.div(parameters.scale).floor_();
  for (int64_t i = 0; i < 16; ++i) {
    for (int64_t up = 0; up < 2; ++up) {
      at::Tensor other = best.clone();
      const double code = std::min(lower[i].item<double>() + static_cast<double>(up),
                                   static_cast<double>(parameters.levels.high));
      other[0][i] = code * parameters.scale.item<double>();
      EXPECT_GE(outputs->mean_squared_error(other), least - 1e-9) << i;
    }
  }
}

TEST(AdaRoundStored, ComesBackFromResults) {
  const TemporaryFolder folder;
  const auto yaml = [](const std::string& rule, const std::string& pipeline) {
    return tokens_experiment() + "    - {" + rule + "}\npipeline: [" + pipeline + "]\n";
  };
  const std::string learned = "sites: 'weight:*', bits: 4, quantizer: adaround";
  const Experiment first(yaml(learned, "calibrate, adaround: {iterations: 50}"));
  const std::filesystem::path file = folder / "results.h5";
  write_results_file(file, first.record());
  const std::string key = "weight:encoder.0.ffn.intermediate";
  const NamedTensors stored = read_results_parameters(file).at(key).state;
  EXPECT_TRUE(stored.at("rounding").equal(first.point(key)->state.at("rounding")));
  const std::string from = fmt::format("calibrate: {{from: {}}}", file.string());
  const Experiment again(yaml(learned, from));
  EXPECT_TRUE(equal_bits(again.logits(Stage::kQuantized), first.logits(Stage::kQuantized)));
  EXPECT_THAT(
      message_of<ConfigError>([&] { Experiment(yaml("sites: 'weight:*', bits: 4", from)); }),
      HasSubstr("give it `quantizer: adaround`"));
}

// As layout version 1 has it, and that of a weight of another shape.
TEST(AdaRoundStored, LayoutVersionOneAndOtherWeights) {
  const at::NoGradGuard no_gradients;
  const TemporaryFolder folder;
  const auto stored = [&](at::IntArrayRef shape) {
    Hdf5Writer file(folder / "old.h5");
    const std::string site = "sites/weight/encoder.0.ffn.norm";
    file.set_attribute("/", "format", std::string(kResultsFormat));
    file.set_attribute("/", "version", int64_t{1});
    file.write(site + "/scale", at::ones({1}));
    file.write(site + "/zero_point", at::zeros({1}));
    file.set_attribute(site, "lowest_code", int64_t{-8});
    file.set_attribute(site, "quantizer", std::string("adaround"));
    file.write(site + "/rounding", at::ones(shape, at::kByte));
    file.commit();
    return fmt::format("{{from: {}, sites: 'weight:*'}}", (folder / "old.h5").string());
  };
  QuantizedNetwork network(tiny_model(),
                           "rules: [{sites: 'weight:encoder.0.ffn.norm', quantize: "
                           "true, bits: 4, quantizer: adaround}]");
  const std::string key = "weight:encoder.0.ffn.norm";
  const at::Tensor& weight = network.model().weight(network.site(key));
  network.calibrate({}, stored(weight.sizes()));
  EXPECT_TRUE(at::equal(network.point(key).quantizer->apply(weight, false),
                        weight.floor().add(1).clamp(-8, 7)));
  EXPECT_THAT(message_of<DataError>([&] {
                network.calibrate({}, stored({3, 7}));
              }),
              testing::AllOf(HasSubstr(key), HasSubstr("the rounding of another one [3, 7]")));
}

TEST(AdaRoundRefusals, SayTheWayOut) {
  const at::NoGradGuard no_gradients;
  const std::vector<Batch> batches = some_batches();
  QuantizedNetwork fixed(tiny_model(), "rules: [{sites: 'weight:*', quantize: true, bits: 4}]");
  fixed.calibrate(batches);
  EXPECT_THAT(message_of<ConfigError>([&] { fixed.solve("adaround", batches); }),
              HasSubstr("give some of them `quantizer: adaround`"));
  QuantizedNetwork early(tiny_model(), kRules);
  EXPECT_THAT(message_of<Error>([&] { early.solve("adaround", batches); }),
              HasSubstr("put `calibrate`"));
  QuantizedNetwork ready(tiny_model(), kRules);
  ready.calibrate(batches);
  EXPECT_THAT(message_of<ConfigError>([&] { ready.solve("adaround", {}); }),
              HasSubstr("raise calibration.samples"));
  EXPECT_THAT(message_of<ConfigError>([&] {
                QuantizedNetwork(tiny_model(),
                                 "rules: [{sites: 'activation:*', quantize: true, bits: 8, "
                                 "quantizer: adaround}]");
              }),
              HasSubstr("use `quantizer: fixed` for activations"));
  EXPECT_THAT(message_of<ConfigError>([&] { ready.solve("adaround", batches, "{drop: 0.5}"); }),
              HasSubstr("reconstruct: block"));
}

}  // namespace
}  // namespace quell
