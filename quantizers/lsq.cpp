// LSQ: learns the scale; the zero point stays where the range put it.

#include "framework/plugin/registry.h"
#include "framework/quant/learned_quantizer.h"

namespace quell {
namespace {

class Lsq final : public LearnedQuantizer {
 public:
  Lsq(const Params& params, const QuantSpec& spec)
      : LearnedQuantizer(params, spec, Learns::kScale, "lsq") {}
};

}  // namespace

void register_quantizer_lsq(Plugins& plugins) {
  add_plugin<Lsq, Lsq::Params>(plugins.quantizers, "lsq",
                               "Uniform affine grid whose scale can be learned.",
                               "OS LSQFakeQuantize; LSQ, Esser et al. 2020, section 2");
}

}  // namespace quell
