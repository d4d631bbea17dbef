// How far values lie from others.
#pragma once

#include <cstdint>

namespace quell::kernels {

// A block of a row-major matrix: `stride` values from row to row.
struct Block {
  const float* values;
  int64_t stride;
};

// The sum of (a - b)^2 over [rows, columns]. Differences are rounded to float32, their squares and
// sums to double precision, in an order that is the same on every instruction set.
double squared_distance(Block a, Block b, int64_t rows, int64_t columns);

// Adds the sums of each row to by_row [rows] and those of each column to by_column [columns].
void add_squared_distances(Block a, Block b, int64_t rows, int64_t columns, double* by_row,
                           double* by_column);

}  // namespace quell::kernels
