// AdaRound of the code of Bondarenko et al. (EMNLP 2021) on its own inputs, targets and draws:
// grids, loss curves, learned variables and decisions.
#include <gtest/gtest.h>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "framework/io/safetensors.h"
#include "framework/json/json.h"
#include "framework/model/activation_function.h"
#include "solvers/adaround/grid_search.h"
#include "solvers/adaround/rounding_optimizer.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"

namespace quell {
namespace {

using nlohmann::json;

// Losses are sums of float32 there, in another order; the reconstruction's part of them is made of
// differences of outputs that come near to each other (up to 1.2e-6 here).
constexpr double kSameLoss = 1e-6;
constexpr double kSameReconstruction = 2e-6;
// Adam divides a gradient by its size, so that a variable moves by the learning rate of 1e-3 in
// each step even where the gradient is next to nothing, and with it what rounding adds to it: so
// some of a thousand variables may end further away (11 of 8192 of one layer, by up to 2.7e-5).
constexpr double kSameVariable = 1e-5, kDrifted = 5e-5, kShareOfSame = 0.998;

struct GoldenLayer {
  const char* run;
  const char* layer;
  const char* inputs = nullptr;  // the run that has them; null: the same
};

const std::vector<GoldenLayer>& layers() {
  static const std::vector<GoldenLayer> all = {
      {"w4a32", "bert.embeddings.LayerNorm"},
      {"w4a32", "bert.encoder.layer.0.attention.self.query"},
      {"w4a32", "bert.encoder.layer.1.intermediate.0"},
      {"w4a32", "classifier"},
      {"w4a32_init_mse", "bert.encoder.layer.0.attention.self.key"},
      {"w4a32_init_mse_out_asym", "bert.encoder.layer.0.attention.self.key", "w4a32_init_mse"},
      {"w4a32_tempdecay", "bert.encoder.layer.0.attention.self.key", "w4a32_init_mse"},
      {"w4a32_mseout_noasym_noact", "bert.encoder.layer.1.intermediate.0"}};
  return all;
}

// Where a run is: copied here, or in the full goldens; empty where they are absent.
std::filesystem::path file_of(const std::string& run) {
  for (const auto& folder :
       {test_data() / "parity/qualcomm_adaround", shared_folder() / "goldens/qualcomm/bert_s0"}) {
    const auto file = folder / fmt::format("adaround_{}.safetensors", run);
    if (std::filesystem::exists(file)) return file;
  }
  return {};
}

class AdaRoundParity : public testing::TestWithParam<GoldenLayer> {
 protected:
  void SetUp() override {
    const auto file = file_of(GetParam().run);
    if (file.empty()) GTEST_SKIP() << "needs " << shared_folder();
    tensors_ = std::make_unique<SafetensorsFile>(file);
    std::filesystem::path beside = file;
    golden_ = read_json_file(beside.replace_extension(".json"));
    const json& said = golden_["adaround"];
    options_.iterations = golden_["iters"].get<int64_t>();
    options_.loss = RoundingLoss::kBatches;
    options_.include_nonlinearity = said["include_act_func"] == "True";
    if (said["decay_type"] == "linear") options_.decay = BetaDecay::kLinear;
    if (said["round_mode"] == "learned_sigmoid") {
      options_.relaxation = kernels::Relaxation::kSigmoid;
    } else if (said["round_mode"] == "sigmoid_temp_decay") {
      options_.relaxation = kernels::Relaxation::kTemperatureSigmoid;
    }
    read_operand();
    spec_.bits = 4;
    spec_.symmetric = true;
    spec_.is_weight = true;
    spec_.grid = kernels::Grid::kQualcomm;
  }

  at::Tensor read(const std::string& name) const {
    return tensors_->read(std::string(GetParam().layer) + "." + name);
  }
  const json& layer() const { return golden_["layers"][GetParam().layer]; }

  void read_operand() {
    const at::Tensor weight = read("weight"), bias = read("bias");
    if (weight.dim() == 1) {
      norm_ = {.weight = weight, .bias = bias};
      operand_ = &norm_;
      return;
    }
    linear_ = {weight, bias};
    if (std::string(GetParam().layer).find("intermediate") != std::string::npos) {
      linear_.nonlinearity = ActivationFunction{kernels::Activation::kGelu,
                                                [](at::Tensor rows) { return at::gelu(rows); }};
    }
    operand_ = &linear_;
  }
  at::Tensor weight() const { return norm_.weight.defined() ? norm_.weight : linear_.weight; }

  // On the golden's inputs, targets and draws.
  std::unique_ptr<Reconstruction> reconstruction(const AdaRoundOptions& options,
                                                 bool targets_behind = false) {
    const char* from = GetParam().inputs;
    const SafetensorsFile file(from == nullptr ? tensors_->path() : file_of(from));
    const std::string name = GetParam().layer;
    const at::Tensor inputs = file.read(name + ".inp"), targets = file.read(name + ".out");
    const at::Tensor drawn = read("batch_idx").to(at::kLong);
    auto result = make_reconstruction(
        operand_, options,
        [drawn](int64_t iteration) {
          const at::Tensor row = drawn[iteration];
          return std::vector<int64_t>(row.const_data_ptr<int64_t>(),
                                      row.const_data_ptr<int64_t>() + row.numel());
        },
        memory_);
    OperationInputs all;
    const int64_t rows = inputs.dim() == 3 ? inputs.size(1) : 1;
    for (int64_t i = 0; i <= inputs.size(0); ++i) all.begins.push_back(i * rows);
    all.quantized = all.original = inputs.reshape({-1, inputs.size(-1)});
    all.targets = targets.reshape({-1, targets.size(-1)});
    if (targets_behind) all.targets = linear_.nonlinearity(all.targets);
    result->add(all);
    return result;
  }

  // The variables that have something to learn. Where inputs and targets are those of the float
  // network, the outputs of a row of the weight are exact unless one of its values is clipped, and
  // its gradients are rounding errors alone.
  at::Tensor learning(const at::Tensor& variables) const {
    if (golden_["adaround"]["asym"] == "True") return variables.reshape({-1});
    const at::Tensor codes = weight().div(layer()["delta"].get<double>());
    const at::Tensor clipped = codes.lt(-8).logical_or_(codes.gt(7)).any(1);
    return variables.index({clipped}).reshape({-1});
  }

  QuantParameters parameters() const {
    const bool is_signed = layer()["signed"].get<bool>();
    return {at::tensor({layer()["delta"].get<float>()}), at::zeros({1}),
            kernels::levels(spec_.grid, 4, true, is_signed)};
  }

  const at::NoGradGuard no_gradients_;
  std::unique_ptr<SafetensorsFile> tensors_;
  json golden_;
  AdaRoundOptions options_;
  QuantSpec spec_;
  Linear linear_;
  Norm norm_;
  Operand operand_ = &linear_;
  RowMemory memory_{int64_t{1} << 30, std::filesystem::temp_directory_path()};
};

void expect_losses(const std::vector<double>& found, const at::Tensor& golden, double tolerance,
                   const char* what) {
  ASSERT_EQ(std::ssize(found), golden.numel());
  for (int64_t i = 0; i < golden.numel(); ++i) {
    const double expected = golden[i].item<double>();
    ASSERT_NEAR(found[static_cast<size_t>(i)], expected, tolerance * std::abs(expected))
        << what << " of iteration " << i + 1;
  }
}

TEST_P(AdaRoundParity, LossVariablesAndDecisions) {
  const auto outputs = reconstruction(options_);
  SoftWeight soft(weight(), parameters(), spec_, options_.relaxation, options_.beta_start);
  EXPECT_LE(max_difference(soft.variable().view(weight().sizes()), read("alpha_init")),
            kSameVariable);
  RoundingOptimizer optimizer(options_, *outputs, soft);
  while (!optimizer.done()) optimizer.step();

  std::vector<double> total = optimizer.reconstruction_loss();
  for (size_t i = 0; i < total.size(); ++i) total[i] += optimizer.regularizer_loss()[i];
  expect_losses(optimizer.reconstruction_loss(), read("rec_per_iter"), kSameReconstruction,
                "reconstruction loss");
  expect_losses(total, read("loss_per_iter"), kSameLoss, "loss");
  const at::Tensor beta = read("b_per_iter");
  for (int64_t i = 0; i < beta.numel(); ++i) {
    EXPECT_NEAR(scheduled_beta(options_, i + 1), beta[i].item<double>(), 1e-12) << i;
  }
  const auto differences =
      row_differences(learning(soft.variable().view(weight().sizes())).unsqueeze(1),
                      learning(read("alpha_final")).unsqueeze(1));
  ASSERT_FALSE(differences.empty());
  EXPECT_GE(share_within(differences, kSameVariable), kShareOfSame);
  EXPECT_EQ(share_within(differences, kDrifted), 1);

  // The decisions, as the quantizer holds them.
  const auto& entry = all_plugins().quantizers.get("adaround");
  const auto quantizer = entry.create(entry.params().make().get(), spec_);
  quantizer->set_parameters(parameters());
  const at::Tensor nearest = read("nearest").to(at::kInt);
  EXPECT_TRUE(quantizer->codes(weight()).codes.to(at::kInt).equal(nearest));
  quantizer->set_rounding(soft.upper());
  const at::Tensor found = quantizer->codes(weight()).codes.to(at::kInt);
  const at::Tensor expected = read("int").to(at::kInt);
  EXPECT_TRUE(found.equal(expected)) << found.ne(expected).sum().item<int64_t>() << " differ";
  EXPECT_EQ(found.ne(nearest).sum().item<int64_t>(), layer()["flipped_vs_nearest"].get<int64_t>());
  EXPECT_TRUE(
      equal_bits(quantizer->apply(weight(), false), soft.hard_values().view(weight().sizes())));
}

INSTANTIATE_TEST_SUITE_P(Layers, AdaRoundParity, testing::ValuesIn(layers()), [](const auto& test) {
  std::string name = fmt::format("{}_{}", test.param.run, test.param.layer);
  for (char& letter : name) {
    if (letter == '.') letter = '_';
  }
  return name;
});

// The grids that it may begin with.
TEST_P(AdaRoundParity, Grid) {
  const std::string init = golden_["adaround"]["init"];
  if (init == "range_estimator") return;
  AdaRoundOptions options;
  options.loss = RoundingLoss::kBatches;
  // The published search looks at outputs behind the activation function, whatever follows.
  const bool behind = golden_["adaround"]["include_act_func"] != "True";
  const auto outputs = init == "mse" ? nullptr : reconstruction(options, behind);
  const Range range = best_range(weight(), spec_, outputs.get());
  EXPECT_EQ(parameters_from_range(range, spec_).scale.item<float>(), layer()["delta"].get<float>());
}

}  // namespace
}  // namespace quell
