// The laws of quantizers, on everything in the registry.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <cmath>
#include <set>

#include "framework/base/error.h"
#include "tests/conformance/laws.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"

namespace quell {
namespace {

using Entry = QuantizerRegistry::Entry;

// Every grid, bit width and granularity.
std::vector<QuantSpec> specs() {
  std::vector<QuantSpec> result;
  for (const auto grid : {kernels::Grid::kOs, kernels::Grid::kOsPlus, kernels::Grid::kQualcomm}) {
    for (const int bits : {2, 4, 8, 16}) {
      for (const bool symmetric : {false, true}) {
        QuantSpec spec;
        spec.grid = grid;
        spec.bits = bits;
        spec.symmetric = symmetric;
        result.push_back(spec);
        spec.granularity = Granularity::kChannel;
        spec.axis = 1;
        result.push_back(spec);
        spec.axis = 0;
        spec.is_weight = true;
        result.push_back(spec);
        spec.granularity = Granularity::kGroup;
        spec.group_size = 4;
        result.push_back(spec);
      }
    }
  }
  return result;
}

// None for a quantizer that refuses them.
std::vector<QuantSpec> dynamic_specs(const Entry& entry) {
  std::vector<QuantSpec> result;
  for (QuantSpec spec : specs()) {
    if (spec.is_weight) continue;
    spec.granularity = Granularity::kToken;
    result.push_back(spec);
    spec.granularity = Granularity::kGroup;
    spec.group_size = 4;
    result.push_back(spec);
  }
  try {
    entry.create(entry.params().make().get(), result[0]);
  } catch (const ConfigError&) {
    return {};
  }
  return result;
}

at::Tensor values() {
  at::manual_seed(2);
  at::Tensor rows = at::randn({12, 8});
  rows.select(1, 5).mul_(15);
  rows[0][0] = 0;
  rows.select(1, 2).abs_();  // a column without negative values
  return rows;
}

std::string describe(const QuantSpec& spec) {
  return fmt::format("grid {} bits {} symmetric {} granularity {} axis {}",
                     static_cast<int>(spec.grid), spec.bits, spec.symmetric,
                     static_cast<int>(spec.granularity), spec.axis);
}

struct Made {
  std::unique_ptr<Quantizer> quantizer;
  Range range;
};

// Initialized with the range of values(), where scales are static.
Made make(const Entry& entry, const QuantSpec& spec) {
  Made made{entry.create(entry.params().make().get(), spec), {}};
  if (spec.is_dynamic()) return made;
  made.range = min_max(values(), spec);
  made.quantizer->init(made.range);
  return made;
}

// The scale of every element.
at::Tensor expand(const at::Tensor& per_scale, const QuantSpec& spec) {
  const ChannelView view = channel_view(values(), spec);
  return per_scale.view({1, view.channels, 1})
      .expand({view.outer, view.channels, view.inner})
      .reshape({12, 8});
}

Violation on_all_specs(const std::function<Violation(const QuantSpec&)>& check) {
  return first_violation(specs(), [&](const QuantSpec& spec) -> Violation {
    const Violation violation = check(spec);
    return violation.empty() ? "" : violation + " with " + describe(spec);
  });
}

Violation idempotent(const Entry& entry) {
  return on_all_specs([&](const QuantSpec& spec) -> Violation {
    const Made made = make(entry, spec);
    const at::Tensor once = made.quantizer->apply(values(), false);
    return equal_bits(made.quantizer->apply(once, false), once) ? ""
                                                                : "a second time changes values";
  });
}

Violation level_count(const Entry& entry) {
  return on_all_specs([&](const QuantSpec& spec) -> Violation {
    if (spec.granularity != Granularity::kTensor) return "";
    const Made made = make(entry, spec);
    const at::Tensor dense = at::linspace(-40, 40, 1 << 18).view({-1, 8});
    const at::Tensor quantized = made.quantizer->apply(dense, false).contiguous();
    const float* data = quantized.const_data_ptr<float>();
    const auto levels = std::set<float>(data, data + quantized.numel()).size();
    return levels <= (size_t{1} << spec.bits) ? "" : fmt::format("{} levels", levels);
  });
}

Violation monotone(const Entry& entry) {
  return on_all_specs([&](const QuantSpec& spec) -> Violation {
    if (spec.granularity != Granularity::kTensor) return "";
    const Made made = make(entry, spec);
    const at::Tensor quantized =
        made.quantizer->apply(at::linspace(-40, 40, 1 << 14).view({-1, 8}), false).view({-1});
    return (at::diff(quantized) < 0).any().item<bool>() ? "a larger value becomes smaller" : "";
  });
}

// Half a step, and what float32 makes of the product of code and scale (2 ulp of the value).
Violation half_step_error(const Entry& entry) {
  return on_all_specs([&](const QuantSpec& spec) -> Violation {
    const Made made = make(entry, spec);
    const at::Tensor scale = expand(made.quantizer->parameters().scale, spec);
    const at::Tensor error = (made.quantizer->apply(values(), false) - values()).abs();
    const at::Tensor excess = error - 0.5 * scale - 2.4e-7 * values().abs() - 1e-5 * scale;
    const double worst = excess.max().item<double>();
    return worst <= 0 ? "" : fmt::format("an error of half a step and {}", worst);
  });
}

Violation zero_exact(const Entry& entry) {
  const auto check = [&](const QuantSpec& spec) -> Violation {
    at::Tensor rows = values();
    rows.fill_(0);
    rows.select(1, 1).fill_(1.5);
    const at::Tensor found = make(entry, spec).quantizer->apply(rows, false);
    return found.select(1, 0).abs().max().item<double>() == 0 ? "" : "zero becomes another value";
  };
  const Violation violation = on_all_specs(check);
  return violation.empty() ? first_violation(dynamic_specs(entry), check) : violation;
}

Violation in_place_is_the_same(const Entry& entry) {
  const auto check = [&](const QuantSpec& spec) -> Violation {
    const Made made = make(entry, spec);
    const at::Tensor rows = values(), before = values();
    const at::Tensor separate = made.quantizer->apply(rows, false);
    if (!equal_bits(rows, before)) return "the input was overwritten";
    return equal_bits(made.quantizer->apply(values(), true), separate) ? "" : "in place differs";
  };
  const Violation violation = on_all_specs(check);
  return violation.empty() ? first_violation(dynamic_specs(entry), check) : violation;
}

Violation parameters_can_be_given(const Entry& entry) {
  return on_all_specs([&](const QuantSpec& spec) -> Violation {
    const Made made = make(entry, spec);
    const auto other = entry.create(entry.params().make().get(), spec);
    other->set_parameters(made.quantizer->parameters());
    return equal_bits(other->apply(values(), false), made.quantizer->apply(values(), false))
               ? ""
               : "given parameters quantize otherwise";
  });
}

// A dynamic scale follows its own row: what is in the other rows does not matter.
Violation rows_are_independent(const Entry& entry) {
  return first_violation(dynamic_specs(entry), [&](const QuantSpec& spec) -> Violation {
    const Made made = make(entry, spec);
    const at::Tensor all = made.quantizer->apply(values(), false);
    for (int64_t row = 0; row < all.size(0); ++row) {
      const at::Tensor alone = values().slice(0, row, row + 1).contiguous();
      if (!equal_bits(made.quantizer->apply(alone, false),
                      all.slice(0, row, row + 1).contiguous())) {
        return "a row alone is quantized otherwise with " + describe(spec);
      }
    }
    return "";
  });
}

// What a gradient of the output must become, in double, by the published table: with v = round(x /
// scale) + zero_point it reaches x inside of the grid, the scale with round(x / scale) - x / scale
// there and with (bound - zero_point) outside, the zero point with -scale outside.
struct ClosedForm {
  at::Tensor rows, scale, zero_point;
};

ClosedForm closed_form(const at::Tensor& rows, const at::Tensor& dy,
                       const QuantParameters& parameters, const QuantSpec& spec) {
  const at::Tensor scale = expand(parameters.scale, spec);
  const at::Tensor zero_point = expand(parameters.zero_point, spec);
  const auto [low, high] = parameters.levels;
  const at::Tensor quotient = rows / scale, code = quotient.round() + zero_point;
  const at::Tensor inside = code.ge(low).logical_and(code.le(high));
  const at::Tensor slope =
      at::where(inside, quotient.round() - quotient, at::clamp(code, low, high) - zero_point);
  const ChannelView view = channel_view(rows, spec);
  const auto sum = [&](const at::Tensor& terms) {
    return terms.to(at::kDouble)
        .view({view.outer, view.channels, view.inner})
        .sum(at::IntArrayRef{0, 2})
        .to(at::kFloat);
  };
  return {dy * inside, sum(dy * slope), sum(-dy * scale * inside.logical_not())};
}

// Gradients of what is learned carry the factor of LSQ, 1 / sqrt(values per scale * highest code).
Violation gradients_are_the_closed_form(const Entry& entry) {
  return on_all_specs([&](const QuantSpec& spec) -> Violation {
    const at::AutoGradMode gradients(true);
    const Made made = make(entry, spec);
    made.quantizer->init({made.range.min * 0.5, made.range.max * 0.5});
    for (const auto& learnable : made.quantizer->learnable()) learnable.tensor.requires_grad_(true);
    const at::Tensor rows = values().requires_grad_(true), dy = at::randn({12, 8});
    made.quantizer->apply(rows, /*in_place=*/true).backward(dy);
    const QuantParameters parameters = made.quantizer->parameters();
    const ClosedForm expected = closed_form(values(), dy, parameters, spec);
    if (!equal_bits(rows.grad(), expected.rows)) return "another gradient of the values";
    const double per_scale = 96.0 / static_cast<double>(parameters.scale.numel());
    const double factor = 1 / std::sqrt(per_scale * parameters.levels.high);
    for (const auto& [name, tensor] : made.quantizer->learnable()) {
      const at::Tensor& sums = name == "scale" ? expected.scale : expected.zero_point;
      // The expected terms are float32, which moves a sum of 96 codes by 1e-6 of the largest.
      const double tolerance = 1e-6 * factor * parameters.levels.high;
      if (!at::allclose(tensor.grad(), sums * factor, 1e-5, tolerance)) {
        return "another gradient of " + name;
      }
    }
    return "";
  });
}

// A scale that follows from the values at hand counts as a constant. It reaches all of them but,
// where the grid ends half a step early, the largest: at most one of a group of four.
Violation dynamic_gradients_pass(const Entry& entry) {
  return first_violation(dynamic_specs(entry), [&](const QuantSpec& spec) -> Violation {
    const at::AutoGradMode gradients(true);
    const Made made = make(entry, spec);
    const at::Tensor rows = values().requires_grad_(true), dy = at::randn({12, 8});
    const at::Tensor y = made.quantizer->apply(rows, /*in_place=*/true);
    y.backward(dy);
    const at::Tensor passed = rows.grad().eq(dy);
    if (!passed.logical_or(rows.grad().eq(0)).all().item<bool>()) return "another gradient";
    if (spec.bits < 8) return "";
    const double share = passed.to(at::kDouble).mean().item<double>();
    return share > 0.7 ? "" : fmt::format("only {} of the gradients pass", share);
  });
}

class QuantizerLaws : public testing::TestWithParam<std::string> {};

TEST_P(QuantizerLaws, Hold) {
  const at::NoGradGuard no_gradients;
  expect_laws<Entry>(all_plugins().quantizers.get(GetParam()),
                     {{"idempotent", idempotent},
                      {"level_count", level_count},
                      {"monotone", monotone},
                      {"half_step_error", half_step_error},
                      {"zero_exact", zero_exact},
                      {"in_place_is_the_same", in_place_is_the_same},
                      {"parameters_can_be_given", parameters_can_be_given},
                      {"rows_are_independent", rows_are_independent},
                      {"gradients_are_the_closed_form", gradients_are_the_closed_form},
                      {"dynamic_gradients_pass", dynamic_gradients_pass}});
}

INSTANTIATE_TEST_SUITE_P(Registry, QuantizerLaws,
                         testing::ValuesIn(all_plugins().quantizers.names()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace quell
