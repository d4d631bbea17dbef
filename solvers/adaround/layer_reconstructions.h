// The reconstructions of linears, norms and tables.
#pragma once

#include <memory>

#include "solvers/adaround/reconstruction.h"

namespace quell {

// Of outputs behind `linear.nonlinearity`, on the drawn sequences.
std::unique_ptr<Reconstruction> reconstruct_linear(const Linear& linear, SequenceDraw draw,
                                                   RowMemory& memory);
// Of outputs that are linear in the weight, on all rows. With D the deviation of the weight, the
// errors D x + W (x - x_float) have the squared sum tr(D H D') + 2 tr(D R') + c, where H is the sum
// of x x', R = W sum of (x - x_float) x', so that an iteration costs one product of D and H,
// however many rows there are.
std::unique_ptr<Reconstruction> reconstruct_linear_by_moments(const Linear& linear);
// Outputs of norms are linear in each gain; by `moments` the best gain is known.
std::unique_ptr<Reconstruction> reconstruct_norm(const Norm& norm, bool moments, SequenceDraw draw,
                                                 RowMemory& memory);
// A row of the table is its own target; by `moments` the nearest value is the best.
std::unique_ptr<Reconstruction> reconstruct_table(const EmbeddingTable& table, bool moments,
                                                  SequenceDraw draw);

}  // namespace quell
