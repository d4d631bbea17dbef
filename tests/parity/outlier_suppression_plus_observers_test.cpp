// The observers against those of the published code of Outlier Suppression+: three batches, with
// padding and without, one-sided data, per channel.
#include <gtest/gtest.h>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <algorithm>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "framework/io/safetensors.h"
#include "framework/json/json.h"
#include "tests/support/engine.h"

namespace quell {
namespace {

using nlohmann::json;

// What an observer is called here, with the parameters that the published code has.
struct OwnName {
  std::string name, params;
  // Where a search decides: its result is judged by its error.
  bool searches = false;
};
const std::map<std::string, OwnName> kNames = {
    {"MinMaxObserver", {"current_minmax", ""}},
    {"AvgMinMaxObserver", {"avg_minmax", ""}},
    {"EMAMinMaxObserver", {"ema_minmax", ""}},
    {"AvgTokenQuantileObserver", {"prune_minmax", ""}},
    {"AvgQuantileObserver", {"quantile", "{quantile: 0.999}"}},
    {"EMAQuantileObserver", {"ema_quantile", ""}},
    {"LSQPlusObserver", {"lsq_init", ""}},
    {"MSEObserver", {"mse", "", true}},
    {"AvgMSEObserver", {"avg_mse", "", true}},
    {"MSEFastObserver", {"mse_fast", "", true}},
    {"AvgMSEFastObserver", {"avg_mse_fast", "", true}},
    {"EMAMSEFastObserver", {"ema_mse_fast", "", true}}};

at::Tensor numbers(const json& value) {
  const auto list = value.is_array() ? value.get<std::vector<double>>()
                                     : std::vector<double>{value.get<double>()};
  return at::tensor(list, at::kDouble);
}

std::filesystem::path file(const std::string& name) {
  return test_data() / "parity/outlier_suppression_plus" / name;
}

class Case {
 public:
  Case(const json& golden, const SafetensorsFile& tensors) : golden_(golden), tensors_(tensors) {}

  const OwnName& own() const { return kNames.at(golden_["observer"]); }
  size_t batches() const { return golden_["after"].size(); }
  const json& after(size_t batch) const { return golden_["after"][batch]; }
  std::string label() const {
    json settings = golden_;
    settings.erase("after");
    return settings.dump();
  }
  QuantSpec spec() const {
    QuantSpec spec;
    spec.grid = kernels::Grid::kOsPlus;
    spec.bits = golden_["bit"];
    spec.symmetric = golden_["symmetric"];
    spec.is_weight = golden_["dist"] == "w";
    if (golden_["ch_axis"] == 0) spec.granularity = Granularity::kChannel;
    return spec;
  }
  // The published code clips no tokens of attention probabilities.
  std::unique_ptr<Observer> observer() const {
    const std::string name = golden_["name"];
    const bool clips = name.find("attention_probs") == std::string::npos;
    const auto& entry = all_plugins().observers.get(own().name);
    std::string params = own().params;
    if (!golden_["percentile"].is_null() && clips) {
      params = fmt::format("{{ratio: {}}}", golden_["percentile"].get<double>());
    }
    return entry.create(read_params(entry, params).get(), spec());
  }
  at::Tensor rows(size_t batch) const {
    if (golden_["dist"] == "w") return tensors_.read("w");
    at::Tensor x = tensors_.read(fmt::format("x.{}", batch)).flatten(0, 1);
    if (golden_["masked"].get<bool>()) {
      const at::Tensor mask = tensors_.read(fmt::format("mask.{}", batch)).flatten();
      x = x.index_select(0, mask.nonzero().flatten());
    }
    if (golden_["dist"] == "pos") x = x.abs();
    if (golden_["dist"] == "neg") x = x.abs().neg();
    return x;
  }
  at::Tensor rows_up_to(size_t batch) const {
    std::vector<at::Tensor> all;
    for (size_t i = 0; i <= batch; ++i) all.push_back(rows(i));
    return at::cat(all, golden_["dist"] == "w" ? 1 : 0);
  }

 private:
  const json& golden_;
  const SafetensorsFile& tensors_;
};

at::Tensor float32(const json& value) { return numbers(value).to(at::kFloat).view({-1}); }

// Mean squared error of each scale on `rows`.
at::Tensor errors(const at::Tensor& rows, const QuantParameters& parameters,
                  const QuantSpec& spec) {
  const at::Tensor y = fake_quantize(rows, parameters, spec, /*in_place=*/false);
  const at::Tensor squares = (y.to(at::kDouble) - rows).square();
  return spec.granularity == Granularity::kTensor ? squares.mean().view({1}) : squares.mean(1);
}

TEST(OutlierSuppressionPlusObservers, AreThePublishedOnes) {
  const json file_json = read_json_file(file("observers.json"));
  const SafetensorsFile tensors(file("observers.safetensors"));
  std::map<std::string, int> equal, compared;
  std::map<std::string, double> worst;
  for (const json& golden : file_json["cases"]) {
    const Case one(golden, tensors);
    const OwnName& own = one.own();
    const QuantSpec spec = one.spec();
    const auto observer = one.observer();
    for (size_t batch = 0; batch < one.batches(); ++batch) {
      observer->observe(one.rows(batch));
      const Range found = observer->range();
      const json& expected = one.after(batch);
      const at::Tensor min = float32(expected["min"]), max = float32(expected["max"]);
      ++compared[own.name];
      const QuantParameters published{
          float32(expected["scale"]), float32(expected["zp"]),
          kernels::levels(spec.grid, static_cast<int>(spec.bits), spec.symmetric)};
      if (at::equal(found.min, min) && at::equal(found.max, max)) {
        const QuantParameters parameters = parameters_from_range(found, spec);
        EXPECT_TRUE(at::equal(parameters.scale, published.scale)) << one.label();
        EXPECT_TRUE(at::equal(parameters.zero_point, published.zero_point)) << one.label();
        ++equal[own.name];
        continue;
      }
      const double reach = at::maximum(min.abs(), max.abs()).max().item<double>();
      const double moved = std::max((found.min - min).abs().max().item<double>(),
                                    (found.max - max).abs().max().item<double>());
      if (own.name == "lsq_init") {
        EXPECT_LE(moved, 2e-6 * reach) << one.label();  // sums in double precision here
        continue;
      }
      EXPECT_TRUE(own.searches) << one.label() << " batch " << batch << ": " << found.min
                                << found.max;
      // The range of one batch is what is searched; several make one together.
      const at::Tensor rows = one.rows_up_to(batch);
      const at::Tensor ratio =
          errors(rows, parameters_from_range(found, spec), spec) / errors(rows, published, spec);
      EXPECT_LE(ratio.max().item<double>(), batch == 0 ? 1.0001 : 1.01) << one.label();
      if (batch == 0) worst[own.name] = std::max(worst[own.name], ratio.max().item<double>());
    }
  }
  for (const auto& [name, count] : compared) {
    fmt::print(
        "{}: {} of {} ranges bit for bit; error of the first batch at most {:.6f} of the "
        "published\n",
        name, equal[name], count, worst[name]);
  }
}

}  // namespace
}  // namespace quell
