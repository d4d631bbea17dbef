// What the segments of a model hand on, and the largest values there: massive activations (Sun,
// Chen, Kolter, Liu, "Massive Activations in Large Language Models", COLM 2024).
#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "framework/base/log.h"
#include "framework/model/model.h"

namespace quell {

// How many of the largest values of each state are kept.
inline constexpr int64_t kTopValues = 10;

// Runs a batch through the model, and calls `look` with the rows [n, features] behind each segment
// but the head, and its index. `rows` are those of tokens, or of the decoder's targets; where some
// were left out, it is not called.
void for_each_hidden_state(const Model& model, const Batch& batch, const Pass& pass,
                           const std::function<void(size_t segment, const at::Tensor& rows)>& look);

// The magnitudes of values, counted by their exponent and seven bits behind it.
class MagnitudeCounts {
 public:
  void add(const at::Tensor& values);
  // Half of all values are smaller; to one part in 128. 0 where there is none.
  double median() const;

 private:
  std::vector<int64_t> counts_;  // by the upper 16 bits without the sign
};

struct LargeValue {
  int64_t row = 0, channel = 0;
  float value = 0;
};

struct HiddenStateSummary {
  std::string segment;  // that handed it on: "decoder.11"
  int64_t layer = -1;   // -1: outside of the layers
  int64_t row_count = 0;
  double median = 0;                // of |x|, see MagnitudeCounts
  std::vector<LargeValue> largest;  // by |x|, the largest first; the earlier row where equal
};

// Summaries over a calibration set, batch by batch.
class HiddenStates {
 public:
  explicit HiddenStates(const Model& model);

  // Rows behind a segment; batches in the order of the calibration set.
  void add(size_t segment, const at::Tensor& rows);
  // Those of which rows were seen, in the order of execution.
  std::vector<HiddenStateSummary> summaries() const;

 private:
  struct Seen {
    HiddenStateSummary summary;
    MagnitudeCounts magnitudes;
  };

  std::vector<Seen> seen_;  // by segment
};

// Of a float network over a calibration set whose rows are those of its tokens. Models with an
// encoder and a decoder have none: their targets are not known beforehand.
std::vector<HiddenStateSummary> hidden_states(const Model& model, std::span<const Batch> batches,
                                              Log& log);

}  // namespace quell
