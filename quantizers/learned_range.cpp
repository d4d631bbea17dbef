// Learned range: scale and zero point are what quantization-aware training of Qualcomm's code
// learns, by their plain gradients.

#include "framework/plugin/registry.h"
#include "framework/quant/learned_quantizer.h"

namespace quell {
namespace {

struct RangeParams {
  bool log_domain = false;

  template <class V>
  static void describe(V& v) {
    v("log_domain", &RangeParams::log_domain,
      "learn the logarithm of the scale: steps are relative, and a scale stays positive");
  }
};

class LearnedRange final : public LearnedQuantizer {
 public:
  LearnedRange(const RangeParams& params, const QuantSpec& spec)
      : LearnedQuantizer({.gradient_scaling = false, .log_domain = params.log_domain}, spec,
                         Learns::kRange, "learned_range") {}
};

}  // namespace

void register_quantizer_learned_range(Plugins& plugins) {
  add_plugin<LearnedRange, RangeParams>(
      plugins.quantizers, "learned_range",
      "Uniform affine grid whose scale and, where it is asymmetric, real zero point are learned, "
      "without scaling of gradients.",
      "Qualcomm code, --learn-ranges; section 4");
}

}  // namespace quell
