// Gradient descent on the rounding of one weight, as published (Nagel et al. 2020; the code of
// Bondarenko et al. 2021, quantization/adaround).
#pragma once

#include <vector>

#include "solvers/adaround/reconstruction.h"
#include "solvers/adaround/soft_weight.h"

namespace quell {

// Of iteration t = 1, 2, ...: the exponent of the regularizer, or the temperature.
double scheduled_beta(const RoundingSchedule& schedule, int64_t iteration);
// Whether the regularizer counts, and temperatures fall.
bool is_warm(const RoundingSchedule& schedule, int64_t iteration);
// The temperature of the weights behind iteration t; behind iteration 0 they begin.
double temperature_behind(const RoundingSchedule& schedule, int64_t iteration);
// Of iteration t, but for the factor of the gradient.
kernels::RoundingStep scheduled_step(const RoundingSchedule& schedule, int64_t iteration);

class RoundingOptimizer {
 public:
  // Both must live as long as the optimizer.
  RoundingOptimizer(const RoundingSchedule& schedule, Reconstruction& reconstruction,
                    SoftWeight& weight);

  int64_t iterations() const { return std::ssize(reconstruction_loss_); }
  bool done() const { return iterations() >= schedule_.iterations; }
  // One iteration.
  void step();

  // The loss of each iteration in front of its step, and the regularizer's part of it, weighted.
  const std::vector<double>& reconstruction_loss() const { return reconstruction_loss_; }
  const std::vector<double>& regularizer_loss() const { return regularizer_loss_; }

  // What a stopped optimization goes on from, with the weight's. Throws DataError for another's.
  NamedTensors state() const;
  void set_state(const NamedTensors& state);

 private:
  RoundingSchedule schedule_;
  Reconstruction& reconstruction_;
  SoftWeight& weight_;
  at::Tensor gradient_;
  std::vector<double> reconstruction_loss_, regularizer_loss_;
};

}  // namespace quell
