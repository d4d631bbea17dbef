// What quantizers that learn their grid by gradient descent share: Outlier Suppression's
// LSQFakeQuantize and LSQPlusFakeQuantize (LSQ, arXiv 1902.08153; LSQ+, arXiv 2004.09576), and the
// learned ranges of Qualcomm's code.
#pragma once

#include <string>

#include "framework/quant/fake_quantize_autograd.h"
#include "framework/quant/quantizer.h"

namespace quell {

enum class Gradients {
  kFused,      // one pass; sums in double
  kPublished,  // the operations of the published code, float32 sums in their order
};

template <>
struct EnumNames<Gradients> {
  static constexpr std::pair<const char*, Gradients> values[] = {
      {"fused", Gradients::kFused}, {"published", Gradients::kPublished}};
};

class LearnedQuantizer : public Quantizer {
 public:
  struct Params {
    bool gradient_scaling = true;
    bool log_domain = false;
    Gradients gradients = Gradients::kFused;
    int64_t heads = 0;
    int64_t length = 0;
    bool transposed = false;

    template <class V>
    static void describe(V& v) {
      v("gradient_scaling", &Params::gradient_scaling,
        "multiply gradients of scale and zero point by 1 / sqrt(values per scale * highest code)");
      v("log_domain", &Params::log_domain,
        "learn the logarithm of the scale: steps are relative, and a scale stays positive");
      v("gradients", &Params::gradients,
        "published: added in float32 in the order of the published code, to repeat its bits; "
        "fused: in one pass, with sums in double");
      v("heads", &Params::heads,
        "of published gradients of a query, key or value, which are added head by head; 0: not one "
        "of them",
        at_least(0));
      v("length", &Params::length, "tokens of each sequence, with padding; with heads",
        at_least(0));
      v("transposed", &Params::transposed, "of a key: the tokens of a head come last");
    }
  };
  enum class Learns {
    kScale,
    kScaleAndZeroPoint,
    // The same as Qualcomm's code has it: a zero point begins where the range has it, before it is
    // rounded, and a symmetric grid keeps its own.
    kRange,
  };

  // Throws ConfigError for a dynamic granularity, which has nothing to learn, and for published
  // gradients of several scales, or of heads without a length. `name` is the plug-in's.
  LearnedQuantizer(const Params& params, const QuantSpec& spec, Learns learns,
                   const std::string& name);

  void init(const Range& range) override;
  // Both bring the parameters to where they make sense, as constrain() does.
  void set_parameters(const QuantParameters& parameters) override;
  // The learned scale and the rounded zero point. With gradient_scaling apply() may use a scale
  // that is one unit in the last place off, as effective_parameters() says.
  QuantParameters parameters() const override;
  at::Tensor apply(const at::Tensor& rows, bool in_place) const override;
  // With the parameters that apply() uses on as many rows.
  IntegerCodes codes(const at::Tensor& rows) const override;
  // Also amid a step: what is learned, as it is. "log_scale" is part of it as long as it is not 0.
  NamedTensors state() const override;
  void set_state(const NamedTensors& state) override;
  // "scale", or in the log domain "log_scale": the logarithm of what the scale was multiplied by
  // since constrain(), so that it is 0 whenever a step of gradient descent starts, the first scale
  // keeps its bits, and parameters() is all there is to store. Then "zero_point".
  std::vector<LearnableTensor> learnable() override;
  // scale = |scale|, at least the epsilon of float32; a learned zero point lies in the grid. As
  // published before each forward pass that does not observe. Of a learned range the scale is at
  // least 1e-8, and the rounded zero point lies in the grid.
  void constrain() override;

 private:
  at::Tensor scale() const;
  void constrain_range();
  LearningRule rule() const;

  Params params_;
  bool learns_range_, learns_zero_point_;
  at::Tensor scale_, zero_point_, log_scale_;  // [scales]; log_scale_ in the log domain only
  kernels::Levels levels_{0, 0};
};

}  // namespace quell
