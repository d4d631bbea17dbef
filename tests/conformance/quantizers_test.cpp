// The laws of quantizers, on everything in the registry.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <algorithm>
#include <atomic>
#include <cmath>
#include <set>
#include <thread>

#include "framework/base/error.h"
#include "framework/quant/scale_map.h"
#include "tests/conformance/laws.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"

namespace quell {
namespace {

using Entry = QuantizerRegistry::Entry;

// Groups of features that are no neighbours and of several sizes.
const std::vector<int64_t> kScattered = {0, 2, 1, 0, 1, 2, 0, 2};

QuantSpec with_groups(QuantSpec spec, int64_t groups) {
  spec.granularity = Granularity::kFeatureGroups;
  spec.groups = groups;
  return spec;
}

QuantSpec with_groups(QuantSpec spec, const std::vector<int64_t>& group_of) {
  spec = with_groups(spec, 1 + *std::max_element(group_of.begin(), group_of.end()));
  spec.feature_groups = std::make_shared<FeatureGroups>(group_of, spec.groups);
  return spec;
}

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
        result.push_back(with_groups(spec, 4));
        result.push_back(with_groups(spec, kScattered));
        spec.axis = 0;
        spec.is_weight = true;
        result.push_back(spec);
        spec.granularity = Granularity::kTensor;
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
  return fmt::format("grid {} bits {} symmetric {} granularity {}", static_cast<int>(spec.grid),
                     spec.bits, spec.symmetric, granularity_text(spec));
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

// Which scale every element of values() has.
at::Tensor scale_index(const QuantSpec& spec) {
  const at::Tensor element = at::arange(96).view({12, 8});
  const at::Tensor row = element.floor_divide(8), feature = element.remainder(8);
  switch (spec.granularity) {
    case Granularity::kTensor:
      return at::zeros_like(element);
    case Granularity::kChannel:
      return spec.axis == 0 ? row : feature;
    case Granularity::kToken:
      return row;
    case Granularity::kGroup:
      return element.floor_divide(spec.group_size);
    case Granularity::kFeatureGroups:
      return spec.feature_groups == nullptr ? feature.floor_divide(8 / spec.groups)
                                            : at::tensor(kScattered).expand({12, 8});
  }
  return {};
}

// The scale of every element.
at::Tensor expand(const at::Tensor& per_scale, const QuantSpec& spec) {
  return per_scale.index({scale_index(spec)});
}

// All that the quantizer is for: some are for weights alone.
std::vector<QuantSpec> specs_of(const Entry& entry) {
  std::vector<QuantSpec> result;
  for (const QuantSpec& spec : specs()) {
    try {
      entry.create(entry.params().make().get(), spec);
      result.push_back(spec);
    } catch (const ConfigError&) {
      EXPECT_FALSE(spec.is_weight) << entry.name() << " refuses weights";
    }
  }
  return result;
}

Violation on_all_specs(const Entry& entry,
                       const std::function<Violation(const QuantSpec&)>& check) {
  return first_violation(specs_of(entry), [&](const QuantSpec& spec) -> Violation {
    const Violation violation = check(spec);
    return violation.empty() ? "" : violation + " with " + describe(spec);
  });
}

Violation idempotent(const Entry& entry) {
  return on_all_specs(entry, [&](const QuantSpec& spec) -> Violation {
    const Made made = make(entry, spec);
    const at::Tensor once = made.quantizer->apply(values(), false);
    return equal_bits(made.quantizer->apply(once, false), once) ? ""
                                                                : "a second time changes values";
  });
}

Violation level_count(const Entry& entry) {
  return on_all_specs(entry, [&](const QuantSpec& spec) -> Violation {
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
  return on_all_specs(entry, [&](const QuantSpec& spec) -> Violation {
    if (spec.granularity != Granularity::kTensor) return "";
    const Made made = make(entry, spec);
    const at::Tensor quantized =
        made.quantizer->apply(at::linspace(-40, 40, 1 << 14).view({-1, 8}), false).view({-1});
    return (at::diff(quantized) < 0).any().item<bool>() ? "a larger value becomes smaller" : "";
  });
}

// Half a step, and what float32 makes of the product of code and scale (2 ulp of the value).
Violation half_step_error(const Entry& entry) {
  return on_all_specs(entry, [&](const QuantSpec& spec) -> Violation {
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
  const Violation violation = on_all_specs(entry, check);
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
  const Violation violation = on_all_specs(entry, check);
  return violation.empty() ? first_violation(dynamic_specs(entry), check) : violation;
}

Violation parameters_can_be_given(const Entry& entry) {
  return on_all_specs(entry, [&](const QuantSpec& spec) -> Violation {
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
  const auto sum = [&](const at::Tensor& terms) {
    return at::zeros({parameters.scale.numel()}, at::kDouble)
        .index_add(0, scale_index(spec).reshape({-1}), terms.to(at::kDouble).reshape({-1}))
        .to(at::kFloat);
  };
  return {dy * inside, sum(dy * slope), sum(-dy * scale * inside.logical_not())};
}

// Gradients of what is learned carry the factor of LSQ, 1 / sqrt(values per scale * highest code),
// but those of learned_range none.
Violation gradients_are_the_closed_form(const Entry& entry) {
  return on_all_specs(entry, [&](const QuantSpec& spec) -> Violation {
    const at::AutoGradMode gradients(true);
    const Made made = make(entry, spec);
    made.quantizer->init({made.range.min * 0.5, made.range.max * 0.5});
    for (const auto& learnable : made.quantizer->learnable()) learnable.tensor.requires_grad_(true);
    const at::Tensor rows = values().requires_grad_(true), dy = at::randn({12, 8});
    made.quantizer->apply(rows, /*in_place=*/true).backward(dy);
    const QuantParameters parameters = made.quantizer->parameters();
    const ClosedForm expected = closed_form(values(), dy, parameters, spec);
    // A gradient of zero may have either sign.
    if (!rows.grad().equal(expected.rows)) return "another gradient of the values";
    const at::Tensor per_scale = at::bincount(scale_index(spec).reshape({-1})).to(at::kDouble);
    const at::Tensor factor = entry.name() == "learned_range"
                                  ? at::ones_like(per_scale)
                                  : (per_scale * parameters.levels.high).rsqrt();
    for (const auto& [name, tensor] : made.quantizer->learnable()) {
      const at::Tensor& sums = name == "scale" ? expected.scale : expected.zero_point;
      // The expected terms are float32, which moves a sum of 96 codes by 1e-6 of the largest.
      const double tolerance = 1e-6 * factor.min().item<double>() * parameters.levels.high;
      if (!at::allclose(tensor.grad(), (sums * factor).to(at::kFloat), 1e-5, tolerance)) {
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

// Also through storage, where every part is a tensor of its own, and amid learning.
Violation state_goes_on(const Entry& entry) {
  return on_all_specs(entry, [&](const QuantSpec& spec) -> Violation {
    const Made made = make(entry, spec);
    for (const auto& learnable : made.quantizer->learnable()) {
      learnable.tensor.mul_(1.125).add_(0.3);
    }
    NamedTensors state;
    for (const auto& [name, tensor] : made.quantizer->state()) state[name] = tensor.clone();
    const at::Tensor expected = made.quantizer->apply(values(), false);
    const auto anew = entry.create(entry.params().make().get(), spec);
    anew->set_state(state);
    if (!equal_bits(anew->apply(values(), false), expected)) return "a new one differs";
    const Made used = make(entry, spec);
    const auto held = used.quantizer->learnable();
    used.quantizer->set_state(state);
    if (!equal_bits(used.quantizer->apply(values(), false), expected)) return "a used one differs";
    const auto now = used.quantizer->learnable();
    for (size_t i = 0; i < held.size(); ++i) {
      if (!now[i].tensor.is_same(held[i].tensor)) return "an optimizer loses " + held[i].name;
    }
    try {
      used.quantizer->set_state({{"nothing", at::zeros({1})}});
      return "a state of something else is accepted";
    } catch (const DataError&) {
      return "";
    }
  });
}

Violation codes_reproduce_apply(const Entry& entry) {
  const auto check = [&](const QuantSpec& spec) -> Violation {
    const Made made = make(entry, spec);
    const IntegerCodes found = made.quantizer->codes(values());
    const auto& [scale, zero_point, levels] = found.parameters;
    const at::Tensor codes = found.codes.to(at::kFloat);
    if (codes.min().item<float>() < levels.low || codes.max().item<float>() > levels.high) {
      return "codes outside of the grid";
    }
    const bool one = scale.numel() == 1;
    const at::Tensor result = (codes - (one ? zero_point : expand(zero_point, spec)))
                                  .mul_(one ? scale : expand(scale, spec));
    if (!equal_bits(result, made.quantizer->apply(values(), false))) return "codes differ";
    at::Tensor missing = values();
    missing[3][2] = std::nanf("");
    try {
      made.quantizer->codes(missing);
      return "NaN has a code";
    } catch (const DataError&) {
      return "";
    }
  };
  const Violation violation = on_all_specs(entry, check);
  return violation.empty() ? first_violation(dynamic_specs(entry), check) : violation;
}

Violation threads_share_it(const Entry& entry) {
  const auto check = [&](const QuantSpec& spec) -> Violation {
    const Made made = make(entry, spec);
    const Quantizer& shared = *made.quantizer;
    const at::Tensor rows = values(), expected = shared.apply(rows, false);
    const at::Tensor codes = shared.codes(rows).codes;
    std::atomic<int> wrong = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        const at::NoGradGuard no_gradients;
        for (int repeat = 0; repeat < 5; ++repeat) {
          wrong += !equal_bits(shared.apply(rows, false), expected);
          wrong += !equal_bits(shared.codes(rows).codes, codes);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    return wrong == 0 ? "" : fmt::format("{} of 40 results differ", wrong.load());
  };
  const Violation violation = on_all_specs(entry, check);
  return violation.empty() ? first_violation(dynamic_specs(entry), check) : violation;
}

// What a quantizer does to `rows` with half of their range, and the gradients of it.
struct Passed {
  at::Tensor y, rows;
  std::vector<at::Tensor> learnable;
};

Passed pass(const Entry& entry, const QuantSpec& spec, const at::Tensor& rows,
            const at::Tensor& dy) {
  const at::AutoGradMode gradients(true);
  const auto quantizer = entry.create(entry.params().make().get(), spec);
  const Range range = min_max(rows, spec);
  quantizer->init({range.min * 0.5, range.max * 0.5});
  for (const auto& learnable : quantizer->learnable()) learnable.tensor.requires_grad_(true);
  const at::Tensor leaf = rows.clone().requires_grad_(true);
  const at::Tensor y = quantizer->apply(leaf, false);
  y.backward(dy);
  Passed passed{y.detach(), leaf.grad(), {}};
  for (const auto& one : quantizer->learnable()) passed.learnable.push_back(one.tensor.grad());
  return passed;
}

// Sums of gradients may be taken in another order, and those of zero have either sign.
Violation equal(const Passed& found, const Passed& expected, bool bits = true) {
  if (!equal_bits(found.y, expected.y)) return "values differ";
  if (!found.rows.equal(expected.rows)) return "gradients of the values differ";
  for (size_t i = 0; i < expected.learnable.size(); ++i) {
    const at::Tensor &a = found.learnable[i], &b = expected.learnable[i];
    if (bits ? !a.equal(b) : !at::allclose(a, b, 1e-5, 1e-6 * b.abs().max().item<double>())) {
      return fmt::format("gradient {} differs", i);
    }
  }
  return "";
}

// Every group by itself, put together.
Passed groups_alone(const Entry& entry, QuantSpec spec, const at::Tensor& rows,
                    const at::Tensor& dy) {
  const FeatureGroups groups = *spec.feature_groups;
  spec.granularity = Granularity::kTensor;
  Passed all{at::empty_like(rows), at::empty_like(rows), {}};
  std::vector<std::vector<at::Tensor>> learnable;
  for (int64_t group = 0; group < groups.groups(); ++group) {
    const at::Tensor members = at::tensor(groups.members(group));
    const Passed one =
        pass(entry, spec, rows.index_select(1, members), dy.index_select(1, members));
    all.y.index_copy_(1, members, one.y);
    all.rows.index_copy_(1, members, one.rows);
    learnable.resize(one.learnable.size());
    for (size_t i = 0; i < learnable.size(); ++i) learnable[i].push_back(one.learnable[i]);
  }
  for (const auto& parts : learnable) all.learnable.push_back(at::cat(parts));
  return all;
}

// One group is the tensor, as many as features are channels, neighbours are a map as others are,
// and groups know nothing of each other.
Violation feature_groups(const Entry& entry) {
  const at::Tensor rows = values(), dy = at::randn({12, 8});
  return on_all_specs(entry, [&](QuantSpec spec) -> Violation {
    if (spec.granularity != Granularity::kTensor) return "";
    const auto run = [&](const QuantSpec& with) { return pass(entry, with, rows, dy); };
    const Passed tensor = run(spec);
    Violation violation = equal(run(with_groups(spec, 1)), tensor);
    if (!violation.empty()) return "one group: " + violation;
    violation = equal(run(with_groups(spec, std::vector<int64_t>(8, 0))), tensor);
    if (!violation.empty()) return "one group of a map: " + violation;
    QuantSpec channels = spec;
    channels.granularity = Granularity::kChannel;
    channels.axis = 1;
    violation = equal(run(with_groups(spec, 8)), run(channels));
    if (!violation.empty()) return "as many groups as features: " + violation;
    violation = equal(run(with_groups(spec, {0, 1, 2, 3, 4, 5, 6, 7})), run(channels));
    if (!violation.empty()) return "a map to as many groups: " + violation;
    violation = equal(run(with_groups(spec, {0, 0, 1, 1, 2, 2, 3, 3})), run(with_groups(spec, 4)),
                      /*bits=*/false);
    if (!violation.empty()) return "neighbours by a map: " + violation;
    const QuantSpec scattered = with_groups(spec, kScattered);
    violation = equal(run(scattered), groups_alone(entry, scattered, rows, dy), /*bits=*/false);
    return violation.empty() ? "" : "groups alone: " + violation;
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
                      {"state_goes_on", state_goes_on},
                      {"codes_reproduce_apply", codes_reproduce_apply},
                      {"threads_share_it", threads_share_it},
                      {"feature_groups", feature_groups},
                      {"gradients_are_the_closed_form", gradients_are_the_closed_form},
                      {"dynamic_gradients_pass", dynamic_gradients_pass}});
}

INSTANTIATE_TEST_SUITE_P(Registry, QuantizerLaws,
                         testing::ValuesIn(all_plugins().quantizers.names()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace quell
