// The operations of a benchmark program, and the one way in which all of them are measured.
#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tests/benchmarks/support/paired.h"

namespace quell::benchmarks {

using Outputs = std::vector<at::Tensor>;

// Empty where `other` is what `own` should be, else what differs.
using Difference = std::function<std::string(const Outputs& own, const Outputs& other)>;
std::string difference_in_bits(const Outputs& own, const Outputs& other);
// For an operator that rounds otherwise: no value is further from ours than `step`.
Difference difference_beyond(double step);
// For a contender that does something else, such as a copy.
std::string not_compared(const Outputs& own, const Outputs& other);

// One way to do an operation, on the buffers with index `slot`.
struct Contender {
  std::string name;  // own; copy, read: the floor; aten: LibTorch's operators; published
  std::function<Outputs(int64_t slot)> run;
  Difference difference = difference_in_bits;
  double share_of_work = 1;  // run() does this much of what own does; its time is divided by it
};

// Where and how an operation is to be done.
struct Setting {
  std::vector<int64_t> shape;  // the last axis holds the features
  int64_t bits = 6;
  bool cold = false;

  int64_t values() const;
  int64_t features() const { return shape.back(); }
  int64_t rows() const { return values() / features(); }
  // How many sets of buffers of that size take turns: 1 when hot; when cold, so many that they
  // exceed 256 MB, more than any cache here.
  int64_t slots(int64_t bytes_of_a_slot) const;
};

struct Case {
  int64_t bytes = 0;                  // that own has to move at least; 0: bytes are not its limit
  int64_t slots = 1;                  // sets of buffers, used in turn
  std::vector<Contender> contenders;  // own is the first one
};

struct Operation {
  std::string name;
  std::function<Case(const Setting&)> make;
  bool depends_on_bits = true;
  bool cold = true;  // is also measured in the cold regime
  Effort effort = {};
  int64_t usual_bits = 6;      // what is measured unless more is asked for
  bool has_sequences = false;  // makes no sense for a matrix
};

// The main program: registers each operation with Google Benchmark at each shape as
// name/shape/bits/regime, runs what the command line asks for (--help) and prints table, resolution
// and goals. Returns the exit status: 1 where outputs differ.
int run_suite(int argc, char** argv, const std::vector<Operation>& operations);

}  // namespace quell::benchmarks
