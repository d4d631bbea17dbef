// What a call of integer_product() consists of, for its kernels.
#pragma once

#include <algorithm>
#include <cstdint>

#include "framework/kernels/integer_product.h"

namespace quell::kernels {

inline int64_t ceiling(int64_t count, int64_t per) { return (count + per - 1) / per; }

// How many steps of pairs may be added in 16 bits, whatever the rows are; 0: none.
int64_t steps_in_16_bits(const IntegerMatrix& of, int32_t most);

// Of whole cache lines, for FreeBytes. Throws std::bad_alloc.
void* aligned_bytes(int64_t bytes);

struct IntegerProduct {
  const IntegerRows& x;
  const IntegerWeight& weight;
  const IntegerEpilogue& epilogue;
  const IntegerOutput& output;
};

// Rows and panels of outputs that are computed by one call.
struct PartOfIntegers {
  int64_t first_row, last_row, first_panel, last_panel;
  const int8_t* panels;  // the first of them, and the others behind it
};

// Sums of products of codes: of rows first_row.. and outputs first..first + count. What lies
// between `count` and the end of its vector of sums is anything.
struct TileOfSums {
  int64_t first_row, rows, first, count;
  const int32_t* sums;      // aligned
  int64_t stride;           // of a row
  const int32_t* row_sums;  // of the codes of each row, where the weight has zero points
};

}  // namespace quell::kernels
