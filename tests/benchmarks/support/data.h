// What the operations work on, and the loops that set their floor.
#pragma once

#include "tests/benchmarks/support/suite.h"

namespace quell::benchmarks {

// Normal activations with two outlier features, 20 and -35 times as large; always the same.
at::Tensor activations(const std::vector<int64_t>& shape);

// Inputs with equal values, and outputs whose pages exist; one of each per slot.
struct Buffers {
  explicit Buffers(const Setting& setting);
  const float* in(int64_t slot) const;
  float* out(int64_t slot) const;
  std::vector<at::Tensor> x, y;
};

// Our own loops, by ordinary loads and stores in the widest vectors of the machine (memcpy would
// bypass the cache for large sizes).
void copy_floats(const float* x, float* y, int64_t size);
float largest_of(const float* x, int64_t size);
// With stores that bypass the cache; false where the machine has none. `y` is aligned to 64 bytes
// and `size` a multiple of 16.
bool copy_floats_streaming(const float* x, float* y, int64_t size);

// The floors of operations on `buffers`: copying x to y, and reading x.
Contender copy_contender(const Buffers& buffers);
Contender read_contender(const Buffers& buffers);

}  // namespace quell::benchmarks
