// What results.h5 keeps of a quantizer, its parameters and the rest of its state, is all that
// `calibrate: {from}` needs, for everything in the registry.
#include <gtest/gtest.h>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "framework/base/error.h"
#include "framework/quant/scale_map.h"
#include "framework/quant/stored_state.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"

namespace quell {
namespace {

class StoredState : public testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Quantizer> make(const QuantSpec& spec) const {
    const auto& entry = all_plugins().quantizers.get(GetParam());
    return entry.create(entry.params().make().get(), spec);
  }
};

std::vector<QuantSpec> specs_of_weights() {
  std::vector<QuantSpec> all;
  for (const bool symmetric : {true, false}) {
    QuantSpec spec;
    spec.bits = 4;
    spec.symmetric = symmetric;
    spec.is_weight = true;
    all.push_back(spec);
    spec.granularity = Granularity::kChannel;
    spec.axis = 0;
    all.push_back(spec);
  }
  return all;
}

TEST_P(StoredState, GivesTheSameBits) {
  const at::NoGradGuard no_gradients;
  at::manual_seed(3);
  const at::Tensor weight = at::randn({6, 10});
  for (const QuantSpec& spec : specs_of_weights()) {
    const auto first = make(spec);
    first->init(min_max(weight, spec), weight);
    if (first->holds_rounding()) first->set_rounding(at::rand({6, 10}).gt(0.5).to(at::kByte));
    for (const auto& learnable : first->learnable()) learnable.tensor.mul_(1.25).add_(0.2);
    first->constrain();
    const auto second = make(spec);
    second->set_parameters(first->parameters());
    const NamedTensors more = beyond_parameters(first->state());
    if (!more.empty()) {
      NamedTensors state = second->state();
      for (const auto& [name, tensor] : more) state[name] = tensor.clone();
      second->set_state(state);
    }
    EXPECT_TRUE(equal_bits(second->apply(weight, false), first->apply(weight, false)));
    EXPECT_TRUE(at::equal(second->codes(weight).codes, first->codes(weight).codes));
  }
}

INSTANTIATE_TEST_SUITE_P(Registry, StoredState, testing::ValuesIn(all_plugins().quantizers.names()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace quell
