// How far the outputs of one operation are from those of the float network, as a function of its
// weight: what AdaRound minimizes layer by layer (Nagel et al. 2020, equation 21).
#pragma once

#include <ATen/core/Tensor.h>
#include <functional>
#include <memory>
#include <vector>

#include "framework/model/operands.h"
#include "solvers/adaround/options.h"
#include "solvers/adaround/row_cache.h"

namespace quell {

// What entered an operation in some sequences: rows [rows, features], or the ids [rows] that were
// looked up. Sequence s has rows begins[s] .. begins[s + 1].
struct OperationInputs {
  at::Tensor original;   // in the float network
  at::Tensor quantized;  // in the one that is reconstructed
  std::vector<int64_t> begins;
  // [rows, outputs] to come near to; undefined: what the operation makes of `original`.
  at::Tensor targets = {};
};

// The sequences of an iteration, by their numbers in the order of add().
using SequenceDraw = std::function<std::vector<int64_t>(int64_t iteration)>;

// The weight is seen as [rows, columns].
class Reconstruction {
 public:
  virtual ~Reconstruction() = default;
  // All sequences come before anything is asked.
  virtual void add(const OperationInputs& inputs) = 0;

  // Chooses the rows that the next losses are taken over.
  virtual void start(int64_t iteration) = 0;
  // The sum of squared errors with `weights` [rows, columns], and half of its gradient, written to
  // `gradient` of the same shape. Uses several threads, whose number does not show in the bits.
  virtual double squared_error(const at::Tensor& weights, at::Tensor& gradient) = 0;
  // By which the sum of squared errors becomes the published loss: the sum over the second
  // dimension, averaged over the others. That is a sum over the rows of a sequence, or, of outputs
  // with one row for each sequence, over features.
  virtual double loss_factor() const = 0;

  // Mean squared error of the outputs of all rows, with `weights` [rows, columns]. Forgets which
  // rows were chosen.
  virtual double mean_squared_error(const at::Tensor& weights) = 0;
  // The values [rows, columns] that have the smallest error, where each may be chosen by itself:
  // then of two neighbours the nearer one is the better, and there is nothing to learn. Undefined
  // otherwise.
  virtual at::Tensor separate_optimum() { return {}; }
};

// Of a linear, norm or table. Keeps what it needs of the inputs, large parts in `memory`. The
// operand must stay as it is meanwhile.
std::unique_ptr<Reconstruction> make_reconstruction(const Operand& operand,
                                                    const AdaRoundOptions& options,
                                                    SequenceDraw draw, RowMemory& memory);

}  // namespace quell
