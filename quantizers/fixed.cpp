// Fixed: the grid that follows from the observed range, not learned afterwards. Gradients go
// straight through it to the values.

#include "framework/base/error.h"
#include "framework/plugin/registry.h"
#include "framework/quant/fake_quantize_autograd.h"
#include "framework/quant/quantizer.h"

namespace quell {
namespace {

class Fixed final : public Quantizer {
 public:
  Fixed(const NoParams&, const QuantSpec& spec) : Quantizer(spec) {}

  void init(const Range& range) override { parameters_ = parameters_from_range(range, spec()); }
  void set_parameters(const QuantParameters& parameters) override { parameters_ = parameters; }
  QuantParameters parameters() const override { return parameters_; }

  at::Tensor apply(const at::Tensor& rows, bool in_place) const override {
    if (spec().is_dynamic()) return fake_quantize_dynamic_straight_through(rows, spec(), in_place);
    QUELL_ASSERT(parameters_.scale.defined(), "apply() before init()");
    return fake_quantize_learned(rows, parameters_, spec(), LearningRule{}, in_place);
  }

 private:
  QuantParameters parameters_;
};

}  // namespace

void register_quantizer_fixed(Plugins& plugins) {
  add_plugin<Fixed, NoParams>(plugins.quantizers, "fixed",
                              "Uniform affine grid from the observed range, rounded half to even.",
                              "OS FixedFakeQuantize; algorithms of OS, OS+ and Qualcomm by `grid`");
}

}  // namespace quell
