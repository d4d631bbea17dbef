// The laws of observers, on everything in the registry.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <cmath>

#include "framework/base/error.h"
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

// A state goes on where it was taken, also in an observer for other bits; and through storage, so
// every part is a tensor of its own.
Violation state_goes_on(const Entry& entry) {
  return first_violation(specs(), [&](QuantSpec spec) -> Violation {
    const auto first = make(entry, spec);
    observe(*first, {batches()[0], batches()[1]});
    std::vector<at::Tensor> state;
    for (const at::Tensor& part : first->state()) state.push_back(part.clone());
    if (state.empty()) return "";  // it has none
    const auto same = make(entry, spec);
    same->set_state(state);
    const Violation changed = equal(same->range(), first->range(), 0);
    if (!changed.empty()) return "taken over: " + changed;
    spec.bits = 6;
    const auto other = make(entry, spec);
    other->set_state(state);
    const Violation violation =
        equal(observe(*other, {batches()[2]}), observe(*make(entry, spec), batches()), 0);
    return violation.empty() ? "" : "at other bits: " + violation;
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
                      {"empty_is_error", empty_is_error}});
}

INSTANTIATE_TEST_SUITE_P(Registry, ObserverLaws, testing::ValuesIn(all_plugins().observers.names()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace quell
