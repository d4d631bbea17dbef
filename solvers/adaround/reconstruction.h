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

// The weight is seen as [rows, columns], in blocks of rows that know nothing of each other: the
// loss is the sum of theirs.
class Reconstruction {
 public:
  virtual ~Reconstruction() = default;
  // All sequences come before anything is asked.
  virtual void add(const OperationInputs& inputs) = 0;

  // Rows of the weight in block `index` of blocks(): block_begin(index) .. block_begin(index + 1).
  int64_t blocks() const { return std::ssize(block_begins_) - 1; }
  int64_t block_begin(int64_t index) const { return block_begins_[static_cast<size_t>(index)]; }

  // Chooses the rows that the next losses are taken over.
  virtual void start(int64_t iteration) = 0;
  // The sum of squared errors of a block with `weights` [rows, columns], and half of its gradient,
  // written to `gradient` [rows of the block, columns]. Several threads may ask at once, for blocks
  // of their own.
  virtual double squared_error(int64_t block, const at::Tensor& weights, float* gradient) = 0;
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

 protected:
  void set_blocks(int64_t rows, int64_t rows_per_block);

 private:
  std::vector<int64_t> block_begins_;
};

// Of a linear, norm or table. Keeps what it needs of the inputs, large parts in `memory`. The
// operand must stay as it is meanwhile.
std::unique_ptr<Reconstruction> make_reconstruction(const Operand& operand,
                                                    const AdaRoundOptions& options,
                                                    SequenceDraw draw, RowMemory& memory);

// Calls work(i) for i in [0, count) from several threads. What each call does is serial, so that
// its bits do not depend on their number.
void for_each_piece(int64_t count, const std::function<void(int64_t)>& work);

}  // namespace quell
