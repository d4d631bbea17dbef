// The laws of observers, on everything in the registry.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <cmath>
#include <set>

#include "framework/base/error.h"
#include "framework/quant/scale_map.h"
#include "tests/conformance/laws.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"

namespace quell {
namespace {

using Entry = ObserverRegistry::Entry;

std::unique_ptr<Observer> make(const Entry& entry, const QuantSpec& spec) {
  return entry.create(entry.params().make().get(), spec);
}

std::vector<QuantSpec> specs() {
  std::vector<QuantSpec> result;
  for (const int bits : {4, 8}) {
    for (const bool symmetric : {false, true}) {
      QuantSpec spec;
      spec.bits = bits;
      spec.symmetric = symmetric;
      result.push_back(spec);  // an activation with one scale
      spec.granularity = Granularity::kChannel;
      spec.axis = 1;
      result.push_back(spec);
      spec.axis = 0;
      spec.is_weight = true;
      result.push_back(spec);
    }
  }
  return result;
}

// Of 16 features, by groups that are no neighbours and of several sizes.
const std::vector<int64_t> kScattered = {2, 0, 1, 2, 1, 1, 0, 2, 2, 2, 0, 0, 2, 1, 2, 2};

QuantSpec with_groups(QuantSpec spec, int64_t groups) {
  spec.granularity = Granularity::kFeatureGroups;
  spec.groups = groups;
  return spec;
}

QuantSpec with_groups(QuantSpec spec, const std::vector<int64_t>& group_of, int64_t groups) {
  spec = with_groups(spec, groups);
  spec.feature_groups = std::make_shared<FeatureGroups>(group_of, groups);
  return spec;
}

// Three batches: of normal values with an outlier channel, of positive ones and of negative ones.
std::vector<at::Tensor> batches() {
  at::manual_seed(1);
  std::vector<at::Tensor> result;
  for (const double shift : {0.0, 4.0, -4.0}) {
    at::Tensor rows = at::randn({24, 16}) * 0.5 + shift;
    rows.select(1, 3).mul_(20);
    result.push_back(rows);
  }
  return result;
}

Range observe(Observer& observer, const std::vector<at::Tensor>& values) {
  for (const at::Tensor& rows : values) observer.observe(rows);
  return observer.range();
}

Violation ordered(const Range& range) {
  const at::Tensor min = range.min, max = range.max;
  if (!at::isfinite(min).all().item<bool>() || !at::isfinite(max).all().item<bool>()) {
    return "a bound is not finite";
  }
  if ((min > max).any().item<bool>()) {
    const int64_t channel = (min - max).argmax().item<int64_t>();
    return fmt::format("range [{}, {}]", min[channel].item<float>(), max[channel].item<float>());
  }
  return "";
}

Violation equal(const Range& found, const Range& expected, double relative) {
  const auto close = [&](const at::Tensor& a, const at::Tensor& b) {
    return a.sizes() == b.sizes() && at::allclose(a, b, relative, 1e-12);
  };
  if (close(found.min, expected.min) && close(found.max, expected.max)) return "";
  return fmt::format("range [{}, {}] instead of [{}, {}]", found.min[0].item<float>(),
                     found.max[0].item<float>(), expected.min[0].item<float>(),
                     expected.max[0].item<float>());
}

Violation finite_ordered_range(const Entry& entry) {
  return first_violation(specs(), [&](const QuantSpec& spec) {
    return first_violation(batches(), [&](const at::Tensor& rows) {
      return ordered(observe(*make(entry, spec), {rows}));
    });
  });
}

// Powers of two, so that only the observer can make a difference.
Violation scale_equivariant(const Entry& entry) {
  return first_violation(specs(), [&](const QuantSpec& spec) {
    const Range plain = observe(*make(entry, spec), batches());
    return first_violation(std::vector<double>{0.125, 64.0}, [&](double factor) {
      std::vector<at::Tensor> scaled;
      for (const at::Tensor& rows : batches()) scaled.push_back(rows * factor);
      return equal(observe(*make(entry, spec), scaled), {plain.min * factor, plain.max * factor},
                   1e-6);
    });
  });
}

// The constant comes back within half a step, which a range that misses it cannot give.
Violation usable(const Entry& entry, double value) {
  return first_violation(specs(), [&](const QuantSpec& spec) -> Violation {
    const at::Tensor rows = at::full({6, 5}, value, at::kFloat);
    const Range range = observe(*make(entry, spec), {rows, rows});
    if (const Violation violation = ordered(range); !violation.empty()) return violation;
    const QuantParameters parameters = parameters_from_range(range, spec);
    if (!at::isfinite(parameters.scale).all().item<bool>() ||
        (parameters.scale <= 0).any().item<bool>()) {
      return "no usable scale";
    }
    const at::Tensor found = fake_quantize(rows, parameters, spec, false);
    const double limit = 0.5 * parameters.scale.max().item<double>() + 1e-6 * std::abs(value);
    const double error = (found - rows).abs().max().item<double>();
    return error <= limit ? "" : fmt::format("{} becomes {}", value, found[0][0].item<float>());
  });
}

Violation constant_input(const Entry& entry) {
  return first_violation(std::vector<double>{0.7, -3.0},
                         [&](double value) { return usable(entry, value); });
}

Violation zero_input(const Entry& entry) { return usable(entry, 0.0); }

Violation reset_is_new(const Entry& entry) {
  return first_violation(specs(), [&](const QuantSpec& spec) -> Violation {
    const auto used = make(entry, spec);
    observe(*used, {batches()[1], batches()[2]});
    used->reset();
    try {
      used->range();
      return "a range after reset()";
    } catch (const Error&) {
    }
    return equal(observe(*used, {batches()[0]}), observe(*make(entry, spec), {batches()[0]}), 0);
  });
}

// Who says so has the range of the last batch alone.
Violation last_batch_decides(const Entry& entry) {
  return first_violation(specs(), [&](const QuantSpec& spec) -> Violation {
    const auto observer = make(entry, spec);
    if (!observer->last_batch_decides()) return "";
    return equal(observe(*observer, batches()), observe(*make(entry, spec), {batches().back()}), 0);
  });
}

Violation empty_is_error(const Entry& entry) {
  return first_violation(specs(), [&](const QuantSpec& spec) -> Violation {
    const auto observer = make(entry, spec);
    try {
      observer->range();
      return "a range without any value";
    } catch (const Error&) {
    }
    try {
      observer->observe(at::empty({0, 4}));
      return "an empty batch was accepted";
    } catch (const Error&) {
    }
    return "";
  });
}

// Those that keep nothing between batches that another process could go on with.
const std::set<std::string> kWithoutState = {
    "mse", "mse_fast", "avg_mse", "avg_mse_fast", "summed_mse", "cross_entropy", "ema_mse_fast"};

// A state goes on where it was taken, also in an observer for other bits; and through storage, so
// every part is a tensor of its own.
Violation state_goes_on(const Entry& entry) {
  std::vector<QuantSpec> all = specs();
  all.push_back(with_groups({}, 4));
  all.push_back(with_groups({}, kScattered, 3));
  return first_violation(all, [&](QuantSpec spec) -> Violation {
    const auto first = make(entry, spec);
    observe(*first, {batches()[0], batches()[1]});
    std::vector<at::Tensor> state;
    for (const at::Tensor& part : first->state()) state.push_back(part.clone());
    if (state.empty()) return kWithoutState.contains(entry.name()) ? "" : "it has no state";
    if (kWithoutState.contains(entry.name())) return "it has a state: take it off the list";
    const auto same = make(entry, spec);
    same->set_state(state);
    const Violation changed = equal(same->range(), first->range(), 0);
    if (!changed.empty()) return "taken over: " + changed;
    spec.bits = 6;
    spec.symmetric = !spec.symmetric;
    const auto other = make(entry, spec);
    other->set_state(state);
    const Violation violation =
        equal(observe(*other, {batches()[2]}), observe(*make(entry, spec), batches()), 0);
    return violation.empty() ? "" : "at other bits: " + violation;
  });
}

// The range of every group by itself, put together.
Range groups_alone(const Entry& entry, const QuantSpec& spec, const FeatureGroups& groups) {
  std::vector<at::Tensor> min, max;
  for (int64_t group = 0; group < groups.groups(); ++group) {
    std::vector<at::Tensor> own;
    for (const at::Tensor& rows : batches()) {
      own.push_back(rows.index_select(1, at::tensor(groups.members(group))));
    }
    const Range range = observe(*make(entry, spec), own);
    min.push_back(range.min);
    max.push_back(range.max);
  }
  return {at::cat(min), at::cat(max)};
}

// One group is the tensor, as many as features are channels, neighbours are a map as others are,
// and groups know nothing of each other (every group has both signs, which some observers ask of
// the whole tensor).
Violation feature_groups(const Entry& entry) {
  std::vector<int64_t> identity, neighbours;
  for (int64_t feature = 0; feature < 16; ++feature) {
    identity.push_back(feature);
    neighbours.push_back(feature / 4);
  }
  return first_violation(specs(), [&](const QuantSpec& spec) -> Violation {
    if (spec.granularity != Granularity::kTensor) return "";
    const auto range = [&](const QuantSpec& with) {
      return observe(*make(entry, with), batches());
    };
    QuantSpec channels = spec;
    channels.granularity = Granularity::kChannel;
    channels.axis = 1;
    const QuantSpec map = with_groups(spec, kScattered, 3);
    const std::pair<const char*, Violation> found[] = {
        {"one group", equal(range(with_groups(spec, 1)), range(spec), 0)},
        {"one group of a map",
         equal(range(with_groups(spec, std::vector<int64_t>(16, 0), 1)), range(spec), 0)},
        {"as many groups as features", equal(range(with_groups(spec, 16)), range(channels), 0)},
        {"a map to as many groups",
         equal(range(with_groups(spec, identity, 16)), range(channels), 0)},
        {"neighbours by a map",
         equal(range(with_groups(spec, neighbours, 4)), range(with_groups(spec, 4)), 0)},
        {"groups alone", equal(range(map), groups_alone(entry, spec, *map.feature_groups), 0)}};
    return first_violation(found, [](const auto& one) -> Violation {
      return one.second.empty() ? "" : std::string(one.first) + ": " + one.second;
    });
  });
}

class ObserverLaws : public testing::TestWithParam<std::string> {};

TEST_P(ObserverLaws, Hold) {
  const at::NoGradGuard no_gradients;
  expect_laws<Entry>(all_plugins().observers.get(GetParam()),
                     {{"finite_ordered_range", finite_ordered_range},
                      {"scale_equivariant", scale_equivariant},
                      {"constant_input", constant_input},
                      {"zero_input", zero_input},
                      {"reset_is_new", reset_is_new},
                      {"state_goes_on", state_goes_on},
                      {"last_batch_decides", last_batch_decides},
                      {"feature_groups", feature_groups},
                      {"empty_is_error", empty_is_error}});
}

INSTANTIATE_TEST_SUITE_P(Registry, ObserverLaws, testing::ValuesIn(all_plugins().observers.names()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace quell
