// Rounding as gradient descent learns it (AdaRound, Nagel et al. 2020, equations 21 to 25): between
// its two neighbours on the grid each weight takes the share h(v) in [0, 1] of a variable v, and a
// regularizer drives shares to 0 or 1. One pass over the weights takes a step of Adam and computes
// the weights behind it. The same bits on every instruction set with fused multiply-adds.
#pragma once

#include <cstdint>

#include "framework/kernels/activation.h"
#include "framework/kernels/grid.h"

namespace quell::kernels {

// The share h of the way to the upper neighbour.
enum class Relaxation {
  kHardSigmoid,         // clamp(1.2 sigmoid(v) - 0.1, 0, 1)
  kSigmoid,             // sigmoid(v)
  kTemperatureSigmoid,  // sigmoid(v / temperature)
};

// Weights of one row [size], with what belongs to each of them.
struct SoftWeights {
  int64_t size = 0;
  const float* lower = nullptr;  // floor(w / scale)
  // [1] where all share one scale, else [size].
  const float* scale = nullptr;
  const float* zero_point = nullptr;
  bool one_scale = true;
  Levels levels{0, 0};
  float* variable = nullptr;  // v
  float* first = nullptr;     // moments of Adam
  float* second = nullptr;
  float* soft = nullptr;  // (clamp(lower + h + zero point) - zero point) * scale
};

// One step of gradient descent. Adam's betas are 0.9 and 0.999, its epsilon is 1e-8.
struct RoundingStep {
  Relaxation relaxation = Relaxation::kHardSigmoid;
  float temperature = 1;        // of the gradient
  float next_temperature = 1;   // of the weights behind the step
  float gradient_factor = 1;    // of the gradients that are given
  float regularizer = 0;        // times sum of 1 - |2 h - 1|^beta; 0: there is none
  float beta = 2;               // its exponent
  float step_size = 0;          // learning rate / (1 - 0.9^t)
  float second_correction = 1;  // sqrt(1 - 0.999^t)
};

// Takes a step along `gradient` [size] of a loss by the soft weights. Returns the sum of
// 1 - |2 h - 1|^beta in front of the step, 0 without a regularizer.
double take_rounding_step(const SoftWeights& weights, const float* gradient,
                          const RoundingStep& step);

// The soft weights of the variables as they are.
void soften_weights(const SoftWeights& weights, Relaxation relaxation, float temperature);

// What outputs should be.
struct OutputTargets {
  const float* shift = nullptr;               // [columns] added to the outputs; null: nothing is
  Activation activation = Activation::kNone;  // behind that
  const float* target = nullptr;              // rows begin `stride` values apart
  int64_t stride = 0;
};

// The sum of squares of e = activation(y + shift) - target over y [rows, columns]. y becomes half
// of its gradient, e activation'(y + shift).
double take_output_errors(float* y, int64_t rows, int64_t columns, const OutputTargets& targets);

// The sum of x (y + z) over [size].
double sum_of_products(const float* x, const float* y, const float* z, int64_t size);

}  // namespace quell::kernels
