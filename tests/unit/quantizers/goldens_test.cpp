// The quantizers against the fake quantizers of Outlier Suppression, as published: outputs and
// gradients (tests/data/kernels).
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <limits>
#include <nlohmann/json.hpp>

#include "framework/io/safetensors.h"
#include "framework/json/json.h"
#include "framework/plugin/registry.h"
#include "framework/quant/fake_quantize_autograd.h"
#include "framework/quant/learned_quantizer.h"
#include "framework/quant/scale_map.h"
#include "tests/support/equal_bits.h"
#include "tests/support/paths.h"

namespace quell {
namespace {

using nlohmann::json;

const std::filesystem::path kData = source_folder() / "tests/data/kernels";

struct Golden {
  std::string name;
  json settings;
  const SafetensorsFile& file;

  bool learned() const { return settings["quantizer"] != "Fixed"; }
  bool has(const std::string& field) const { return file.contains(name + "." + field); }
  at::Tensor read(const std::string& field) const {
    return file.read(name + "." + field).to(at::kFloat);
  }
  // As rows [n, features].
  at::Tensor input(const std::string& suffix = "") const {
    const at::Tensor values = file.read(settings["x"].get<std::string>() + suffix);
    return values.view({-1, values.size(-1)}).clone();
  }
  QuantSpec spec() const {
    QuantSpec spec;
    spec.bits = settings["bit"];
    spec.symmetric = settings["symmetric"];
    if (settings["ch_axis"] == 0) {
      spec.granularity = Granularity::kChannel;
      spec.is_weight = true;
    }
    return spec;
  }
  std::unique_ptr<Quantizer> quantizer() const {
    static const Plugins plugins = [] {
      Plugins all;
      register_all_plugins(all);
      return all;
    }();
    const std::map<std::string, std::string> names = {
        {"Fixed", "fixed"}, {"LSQ", "lsq"}, {"LSQPlus", "lsq_plus"}};
    const auto& entry = plugins.quantizers.get(names.at(settings["quantizer"]));
    LearnedQuantizer::Params params;
    params.gradient_scaling = settings.value("use_grad_scaling", json()) != json(false);
    const NoParams none;
    return entry.create(learned() ? static_cast<const void*>(&params) : &none, spec());
  }
};

std::vector<Golden> goldens(const SafetensorsFile& file) {
  std::vector<Golden> result;
  const json cases = read_json_file(kData / "outlier_suppression.json");
  for (const auto& [name, settings] : cases.items()) {
    result.push_back({name, settings, file});
  }
  return result;
}

at::Tensor found_gradient(Quantizer& quantizer, const std::string& name) {
  for (const LearnableTensor& learnable : quantizer.learnable()) {
    if (learnable.name == name) return learnable.tensor.grad();
  }
  return {};
}

// `terms` is what the published code sums, a row per scale. The goldens promise 3e-5 relative;
// where terms cancel, float32 sums are off by 4 epsilon times the root of their squares (ours are
// not: the terms of one scale cancel before they are added).
void expect_sums(const Golden& golden, const at::Tensor& found, const std::string& field,
                 const at::Tensor& terms) {
  ASSERT_TRUE(found.defined()) << golden.name << " " << field;
  const at::Tensor expected = golden.read(field);
  const at::Tensor tolerance = 3e-5 * expected.abs() + 4 * 1.2e-7 * terms.square().sum(1).sqrt();
  EXPECT_TRUE((found - expected).abs().le(tolerance).all().item<bool>())
      << golden.name << " " << field << ": " << (found - expected).abs().max().item<float>();
}

void expect_learned(const Golden& golden, Quantizer& quantizer) {
  const auto parameters = quantizer.parameters();
  EXPECT_TRUE(equal_bits(parameters.scale, golden.read("scale_out"))) << golden.name;
  EXPECT_TRUE(equal_bits(parameters.zero_point, golden.read("zp_out").round())) << golden.name;
  for (const LearnableTensor& learnable : quantizer.learnable()) {
    learnable.tensor.requires_grad_(true);
  }
}

TEST(Goldens, OutputsBitForBitAndGradients) {
  const SafetensorsFile file(kData / "outlier_suppression.safetensors");
  int gradients = 0, scales = 0, zero_points = 0;
  for (const Golden& golden : goldens(file)) {
    if (!golden.has("dx")) continue;
    const QuantSpec spec = golden.spec();
    const auto quantizer = golden.quantizer();
    quantizer->set_parameters(
        {golden.read("scale_in"), golden.read("zp_in"),
         kernels::levels(spec.grid, static_cast<int>(spec.bits), spec.symmetric)});
    if (golden.learned()) expect_learned(golden, *quantizer);
    const at::Tensor rows = golden.input().requires_grad_(true);
    const at::Tensor y = quantizer->apply(rows, /*in_place=*/true);
    EXPECT_TRUE(equal_bits(y, golden.read("y").view_as(y))) << golden.name;
    const at::Tensor dy = golden.input("_gy");
    y.backward(dy);
    // They multiply by the scale and divide by it again, which costs up to two roundings.
    const at::Tensor dx = golden.read("dx").view_as(y);
    EXPECT_TRUE(at::allclose(rows.grad(), dx, 2.4e-7, 0)) << golden.name;
    ++gradients;
    if (!golden.learned()) continue;
    const QuantParameters parameters = quantizer->parameters();
    const ScaleMap map = ScaleMap::make(spec, rows.sizes());
    const int64_t channels = map.channels(), values = map.inner();
    const bool scaled = golden.settings["use_grad_scaling"];
    const at::Tensor terms = dy.view({channels, values}) *
                             (scaled ? gradient_factor(values, parameters.levels.high) : 1.0f);
    const at::Tensor scale = parameters.scale.view({-1, 1});
    const at::Tensor codes = y.detach().view({channels, values}) / scale;
    expect_sums(golden, found_gradient(*quantizer, "scale"), "dscale", terms * codes);
    ++scales;
    if (!golden.has("dzp")) continue;
    expect_sums(golden, found_gradient(*quantizer, "zero_point"), "dzp", terms * scale);
    ++zero_points;
  }
  EXPECT_EQ(gradients, 70);
  EXPECT_EQ(scales, 58);
  EXPECT_EQ(zero_points, 29);
}

TEST(Goldens, ObservedThenQuantized) {
  const SafetensorsFile file(kData / "outlier_suppression.safetensors");
  const at::NoGradGuard no_gradients;
  int checked = 0;
  for (const Golden& golden : goldens(file)) {
    if (golden.has("dx")) continue;
    const auto quantizer = golden.quantizer();
    quantizer->init(min_max(golden.input(), golden.spec()));
    const at::Tensor y = quantizer->apply(golden.input(), /*in_place=*/false);
    EXPECT_TRUE(equal_bits(y, golden.read("y").view_as(y))) << golden.name;
    // A row of zeros has the smallest scale, which the published quantizer raises a step later.
    const float smallest = golden.learned() ? std::numeric_limits<float>::epsilon() : 0.0f;
    const auto parameters = quantizer->parameters();
    EXPECT_TRUE(
        equal_bits(parameters.scale, golden.read("scale_out").view({-1}).clamp_min(smallest)))
        << golden.name;
    EXPECT_TRUE(equal_bits(parameters.zero_point, golden.read("zp_out").view({-1}))) << golden.name;
    ++checked;
  }
  EXPECT_EQ(checked, 6);
}

}  // namespace
}  // namespace quell
