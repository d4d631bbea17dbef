// LSQ+: learns scale and zero point, of symmetric grids too, as published.

#include "framework/plugin/registry.h"
#include "framework/quant/learned_quantizer.h"

namespace quell {
namespace {

class LsqPlus final : public LearnedQuantizer {
 public:
  LsqPlus(const Params& params, const QuantSpec& spec)
      : LearnedQuantizer(params, spec, Learns::kScaleAndZeroPoint, "lsq_plus") {}
};

}  // namespace

void register_quantizer_lsq_plus(Plugins& plugins) {
  add_plugin<LsqPlus, LsqPlus::Params>(
      plugins.quantizers, "lsq_plus",
      "Uniform affine grid whose scale and zero point can be learned.",
      "OS LSQPlusFakeQuantize; LSQ+, Bhalgat et al. 2020, section 3.1");
}

}  // namespace quell
