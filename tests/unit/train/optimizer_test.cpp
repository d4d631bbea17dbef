// Optimizers and schedules against numbers of PyTorch (tests/data/train).
#include <gtest/gtest.h>

#include <ATen/ops/allclose.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/json/json.h"
#include "framework/train/adam.h"
#include "framework/train/gradients.h"
#include "framework/train/schedule.h"
#include "tests/support/equal_bits.h"
#include "tests/support/paths.h"

namespace quell {
namespace {

using nlohmann::json;

const json& golden() {
  static const json data = read_json_file(source_folder() / "tests/data/train/optimizers.json");
  return data;
}

at::Tensor to_tensor(const json& values) {
  std::vector<float> flat;
  for (const json& row : values) {
    if (!row.is_array()) flat.push_back(row.get<float>());
    for (size_t i = 0; row.is_array() && i < row.size(); ++i) flat.push_back(row[i].get<float>());
  }
  return at::tensor(flat);
}

TrainedTensor trained(const std::string& name, const at::Tensor& values, double decay) {
  return {name, values.clone().set_requires_grad(true), 1, decay};
}

std::vector<TrainedTensor> start_of(const json& run) {
  std::vector<TrainedTensor> result;
  for (const json& values : run["start"]) {
    result.push_back(
        trained(fmt::format("t{}", result.size()), to_tensor(values), run["weight_decay"]));
  }
  return result;
}

Adam adam_of(const json& run) {
  AdamOptions options;
  if (run["variant"] == "transformers") options.variant = AdamVariant::kTransformers;
  return Adam(start_of(run), options);
}

void take_steps(Adam& adam, const json& run, size_t first, size_t last) {
  for (size_t step = first; step < last; ++step) {
    for (size_t i = 0; i < adam.trained().size(); ++i) {
      at::Tensor tensor = adam.trained()[i].tensor;
      tensor.mutable_grad() = to_tensor(run["gradients"][step][i]);
    }
    adam.step(run["learning_rates"][step]);
  }
}

constexpr float kTwoLastBits = 0x1p-22f;

TEST(Adam, SameBitsAsPytorch) {
  for (const json& run : golden()["adam"]) {
    Adam adam = adam_of(run);
    take_steps(adam, run, 0, run["learning_rates"].size());
    for (size_t i = 0; i < adam.trained().size(); ++i) {
      // Square roots are MKL's, whose last bit is another on processors of Intel.
      const at::Tensor found = adam.trained()[i].tensor.detach(),
                       expected = to_tensor(run["end"][i]);
      const float moved = (found - expected).abs().div(expected.abs()).max().item<float>();
      EXPECT_TRUE(equal_bits(found, expected) ||
                  (__builtin_cpu_is("intel") && moved <= kTwoLastBits))
          << run["variant"] << " " << run["weight_decay"] << "\n"
          << adam.trained()[i].tensor << "\n"
          << to_tensor(run["end"][i]);
    }
  }
}

TEST(Adam, GoesOnFromStoredState) {
  const json& run = golden()["adam"][1];
  const size_t steps = run["learning_rates"].size();
  Adam whole = adam_of(run), half = adam_of(run), rest = adam_of(run);
  take_steps(whole, run, 0, steps);
  take_steps(half, run, 0, 3);
  rest.set_state(half.state());
  for (size_t i = 0; i < rest.trained().size(); ++i) {
    at::Tensor(rest.trained()[i].tensor.detach()).copy_(half.trained()[i].tensor.detach());
  }
  take_steps(rest, run, 3, steps);
  EXPECT_EQ(rest.steps(), static_cast<int64_t>(steps));
  for (size_t i = 0; i < rest.trained().size(); ++i) {
    EXPECT_TRUE(equal_bits(rest.trained()[i].tensor, whole.trained()[i].tensor));
  }
  EXPECT_THROW(rest.set_state({}), DataError);
  NamedTensors other = half.state();
  other["adam.first.t0"] = at::tensor({1.0F});
  EXPECT_THROW(rest.set_state(other), DataError);
}

TEST(Adam, FactorsAndMissingGradients) {
  const at::Tensor values = at::tensor({1.0F, 2.0F});
  TrainedTensor fast = trained("fast", values, 0), idle = trained("idle", values, 0.1);
  TrainedTensor slow = trained("slow", values, 0);
  fast.learning_rate = 10;
  Adam adam({fast, idle, slow}, {});
  fast.tensor.mutable_grad() = at::tensor({1.0F, -1.0F});
  slow.tensor.mutable_grad() = at::tensor({1.0F, -1.0F});
  adam.step(0.01);
  // The first step of Adam moves by the learning rate, whatever the gradient.
  EXPECT_TRUE(at::allclose(fast.tensor, at::tensor({0.9F, 2.1F})));
  EXPECT_TRUE(at::allclose(slow.tensor, at::tensor({0.99F, 2.01F})));
  EXPECT_TRUE(equal_bits(idle.tensor, values));
  adam.clear_gradients();
  EXPECT_FALSE(fast.tensor.grad().defined());
}

TEST(Gradients, AreClippedAsInPytorch) {
  const json& run = golden()["clip"];
  std::vector<TrainedTensor> tensors;
  for (const json& gradient : run["gradients"]) {
    const at::Tensor values = to_tensor(gradient);
    tensors.push_back(trained(fmt::format("t{}", tensors.size()), values, 0));
    tensors.back().tensor.mutable_grad() = values.clone();
  }
  EXPECT_FLOAT_EQ(clip_gradients(tensors, 0), run["norm"].get<float>());
  EXPECT_TRUE(equal_bits(tensors[0].tensor.grad(), to_tensor(run["gradients"][0])));
  EXPECT_FLOAT_EQ(clip_gradients(tensors, run["max_norm"]), run["norm"].get<float>());
  for (size_t i = 0; i < tensors.size(); ++i) {
    EXPECT_TRUE(at::allclose(tensors[i].tensor.grad(), to_tensor(run["clipped"][i]), 2e-7));
  }
}

TEST(LearningRate, AsInPytorchAndHuggingFace) {
  for (const json& run : golden()["schedules"]) {
    const Decay decay = run["decay"] == "cosine" ? Decay::kCosine : Decay::kLinear;
    const LearningRate rate{run["peak"], decay, run["steps"], run["warmup"]};
    for (int64_t step = 0; step < rate.steps; ++step) {
      const double expected = run["rates"][static_cast<size_t>(step)];
      // PyTorch computes the cosine by recursion, in double precision.
      EXPECT_NEAR(rate.at(step), expected, 1e-13 * rate.peak) << run["decay"] << " " << step;
    }
  }
  EXPECT_EQ((LearningRate{1e-3, Decay::kConstant, 10, 2}.at(9)), 1e-3);
  EXPECT_EQ(warmup_steps(0.1, 12), 2);
  EXPECT_EQ(warmup_steps(0, 12), 0);
}

}  // namespace
}  // namespace quell
