// Quantization-aware training against the review copy of Outlier Suppression.
#include <gtest/gtest.h>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <cmath>
#include <nlohmann/json.hpp>

#include "framework/base/file.h"
#include "framework/io/safetensors.h"
#include "framework/json/json.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"
#include "tests/support/records.h"
#include "tests/support/temporary_folder.h"

namespace quell {
namespace {

using nlohmann::json;

struct Case {
  const char* name;
  int bits;
  bool gamma_migration;
  // How far scales may be off, relative to how far they move: one rounding that flips changes every
  // later step, and at 8 bits scales are small beside the steps of Adam.
  double off;
  const char* weights = "granularity: channel, axis: 0, observer: lsq_init, quantizer: lsq";
  double weight_decay = 0;
};

// The replay of one golden: ranges of activations are given, those of weights observed; training
// on padded batches, because the size of a tensor is in the gradient of its scale.
class Replay {
 public:
  Replay(const Case& golden, const std::filesystem::path& folder)
      : golden_(golden),
        json_(read_json_file(folder / "qat.json")),
        tensors_(folder / "qat.safetensors"),
        network_(folder, fmt::format("{{include: placements/outlier_suppression.yaml, rules: ["
                                     "{{sites: 'weight:*', bits: {0}, symmetric: true, {1}}},"
                                     "{{sites: 'activation:*', bits: {0}, symmetric: false,"
                                     " quantizer: lsq_plus}}]}}",
                                     golden.bits, golden.weights)),
        batches_(read(folder)) {
    set_up();
  }

  const json& golden() const { return json_; }
  at::Tensor tensor(const std::string& name) const { return tensors_.read(name); }
  QuantizedNetwork& network() { return network_; }

  at::Tensor weight_scales() {
    std::vector<at::Tensor> scales;
    for (const std::string name : json_["order_weight"]) {
      if (name.find("embeddings") != std::string::npos) continue;
      scales.push_back(network_.point(name).quantizer->parameters().scale);
    }
    return at::cat(scales);
  }
  at::Tensor activation_scales() {
    std::vector<at::Tensor> scales;
    for (const SiteId id : activations()) {
      scales.push_back(network_.points().point(id)->quantizer->parameters().scale);
    }
    return at::cat(scales);
  }
  // Activation sites in the order of the golden's columns, which is that of execution.
  std::vector<SiteId> activations() {
    std::vector<SiteId> ids;
    for (size_t i = 0; i < network_.model().sites().size(); ++i) {
      const auto id = static_cast<SiteId>(i);
      const bool activation = network_.model().sites()[i].kind == SiteKind::kActivation;
      if (activation && network_.points().point(id) != nullptr) ids.push_back(id);
    }
    return ids;
  }

  at::Tensor logits() {
    std::vector<at::Tensor> all;
    for (const Batch& batch : batches_) all.push_back(network_.logits(batch, true, true));
    return at::stack(all);
  }

  LearningRecord train() {
    run("qat",
        fmt::format("{{data: calibration, epochs: 3, learning_rate: 2.0e-4, schedule: linear, "
                    "warmup: 0.1, optimizer: transformers, weight_decay: {}, decayed: published, "
                    "max_gradient_norm: 1, dropout: 0}}",
                    golden_.weight_decay));
    return record_;
  }

 private:
  static std::vector<Batch> read(const std::filesystem::path& folder) {
    const auto file = folder / "inputs.safetensors";
    std::vector<std::string> keys;
    for (int i = 0; i < 5; ++i) keys.push_back(fmt::format("b{}.input_ids", i));
    return read_batches(file, keys, 32);
  }

  void set_up() {
    if (golden_.gamma_migration) run("gamma_migration", "{epsilon: 1.0e-5}");
    json table;
    const at::Tensor scale = tensor("steps.act_scale"), zero = tensor("steps.act_zero_point");
    const std::vector<SiteId> ids = activations();
    QUELL_ASSERT(std::ssize(ids) == scale.size(1), "another number of activations");
    for (size_t i = 0; i < ids.size(); ++i) {
      const auto column = static_cast<int64_t>(i);
      table[network_.model().sites()[static_cast<size_t>(ids[i])].key()] = {
          scale[0][column].item<double>(), zero[0][column].item<double>()};
    }
    const TemporaryFolder folder;
    const auto file = folder.write("ranges.json", table.dump());
    run("calibrate", fmt::format("{{from: {}}}", file.string()));
  }

  void run(const std::string& step, const std::string& options) {
    const at::NoGradGuard no_gradients;
    Log log(Verbosity::kQuiet);
    PipelineContext context{network_.model(), network_.points(),
                            std::span<const Batch>(batches_).first(4), log};
    if (const auto* entry = all_plugins().transforms.find(step)) {
      entry->create(read_params(*entry, options).get())->run(context);
    } else {
      const auto& solver = all_plugins().solvers.get(step);
      solver.create(read_params(solver, options).get())->run(context);
    }
    const auto learned = learning(context.records);
    if (!learned.empty()) record_ = learned.front();
  }

  Case golden_;
  json json_;
  SafetensorsFile tensors_;
  QuantizedNetwork network_;
  std::vector<Batch> batches_;
  LearningRecord record_;
};

class QatReplay : public testing::TestWithParam<Case> {
 protected:
  std::filesystem::path folder() const {
    const auto own = test_data() / "parity" / GetParam().name;
    if (std::filesystem::exists(own)) return own;
    return shared_folder() / "goldens/outlier_suppression" / GetParam().name;
  }
  void SetUp() override {
    if (!std::filesystem::exists(folder())) {
      GTEST_SKIP() << "the full goldens are not here: " << folder();
    }
  }
  void record(const std::string& name, double found, double expected) {
    RecordProperty(name, fmt::format("{:.6f} for {:.6f}", found, expected));
  }
  // `golden` [steps, scales] from before to after training.
  void expect_moves(const std::string& what, const at::Tensor& found, const at::Tensor& golden) {
    const at::Tensor moved = found - golden[0], expected = golden[-1] - golden[0];
    const double off = at::mean(at::abs(moved - expected)).item<double>();
    const double distance = at::mean(at::abs(expected)).item<double>();
    record(what + ", mean distance off and gone", off, distance);
    EXPECT_LT(off, GetParam().off * distance) << what;
  }
  double share_of_equal_logits(Replay& replay, const std::string& name) {
    // 1e-4: far above the noise of float32, far below one flipped rounding.
    return share_within(
        row_differences(replay.logits().view({-1, 3}), replay.tensor(name).view({-1, 3})), 1e-4);
  }
};

TEST_P(QatReplay, StartsFromTheSameNetwork) {
  Replay replay(GetParam(), folder());
  const at::Tensor weights = replay.tensor("steps.weight_scale")[0];
  // 2e-6: mean and deviation are sums in another order.
  EXPECT_LT(at::max(at::abs(replay.weight_scales() / weights - 1)).item<double>(), 2e-6);
  EXPECT_EQ(share_of_equal_logits(replay, "before_training.logits"), 1);
}

TEST_P(QatReplay, LearnsAsPublished) {
  Replay replay(GetParam(), folder());
  const LearningRecord found = replay.train();
  const auto losses = replay.golden()["loss_of_step"].get<std::vector<double>>();
  const auto rates = replay.golden()["lr_of_step"].get<std::vector<double>>();
  ASSERT_EQ(found.loss.size(), losses.size());
  for (size_t i = 0; i < losses.size(); ++i) {
    EXPECT_NEAR(found.learning_rate[i], rates[i], 1e-12);
    // The first step has a rate of 0, so two losses are of the same network. Later ones move with
    // every rounding that flips.
    EXPECT_NEAR(found.loss[i], losses[i], i < 2 ? 1e-3 : 0.02 * losses[i]) << i;
    record(fmt::format("loss_{}", i), found.loss[i], losses[i]);
  }
  expect_moves("activation scales", replay.activation_scales(), replay.tensor("steps.act_scale"));
  expect_moves("weight scales", replay.weight_scales(), replay.tensor("steps.weight_scale"));
  RecordProperty("equal_logits", fmt::format("{}", share_of_equal_logits(replay, "final.logits")));
}

INSTANTIATE_TEST_SUITE_P(Goldens, QatReplay,
                         testing::Values(Case{"qat_bert", 4, true, 0.25},
                                         Case{"qat_bert_b8_nogm", 8, false, 0.5},
                                         Case{"qat_roberta", 4, true, 0.25,
                                              "granularity: tensor, observer: lsq_init, "
                                              "quantizer: lsq_plus",
                                              0.01}),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace quell
