// What a threshold of Outlier Suppression+ costs: how far quantization moves the outputs of a
// group's readers once channels that exceed the threshold are scaled down to it.
#pragma once

#include <ATen/core/Tensor.h>
#include <map>
#include <optional>
#include <vector>

#include "framework/model/model.h"
#include "transforms/thresholds/reader_weights.h"

namespace quell {

// (smallest + largest) / 2 of each feature, [features]. Equation 3.
at::Tensor shift_of(const Range& features);
// What divides each feature, at least 1: max / threshold or min / -threshold where the feature
// exceeds it, [features]. Equation 5, for rows that were not shifted, too.
at::Tensor scale_of(const Range& features, float threshold);

// A group's rows in one batch.
struct GroupInput {
  const Batch* batch = nullptr;
  at::Tensor rows;  // [tokens, features], float
  State state;      // in front of the segment that makes them
};

// In all of this the loss is the sum of squared differences over features, averaged over the tokens
// that are no padding, of what the readers' outputs are combined to (ScaleGroup::combined), or of
// the outputs themselves, without biases. Quantized are the rows and the readers' weights: rows of
// one scale in [-threshold, threshold], others in their extremes. Equation 6.
class ThresholdLoss {
 public:
  // `features` are the extremes of the rows of all batches, float32 [features].
  ThresholdLoss(const ScaleGroup& group, const Model& model, const SitePoints& points,
                const Range& features, const std::vector<GroupInput>& inputs, LossForm form);

  // The tokens come in so many rounds.
  size_t rounds() const { return rounds_.size(); }
  // What the tokens of a round add to the loss of a threshold: not negative. NaN where the network
  // gives NaN.
  double add(float threshold, size_t round);

 private:
  // Some sequences of a batch.
  struct Piece {
    at::Tensor rows;
    State state;
    ModelInput input;
    std::optional<RealRows> real;     // absent: all rows are
    std::vector<at::Tensor> targets;  // float outputs of real rows
  };

  void add_pieces(const GroupInput& input, const Model& model);
  void add_piece(const at::Tensor& rows, State state, ModelInput input);
  std::vector<at::Tensor> outputs(const Piece& piece, const at::Tensor& rows) const;
  double distance(const Piece& piece, const at::Tensor& rows) const;
  // What the readers have at a threshold.
  std::vector<at::Tensor> weights(const at::Tensor& scale, float threshold);
  at::Tensor quantized(const at::Tensor& rows, const at::Tensor& scale, float threshold) const;

  const ScaleGroup& group_;
  RowsOf rows_of_;
  const QuantSpec& spec_;  // of the rows
  Range features_;
  Pass pass_;  // float
  ReaderWeights weights_;
  std::vector<Piece> pieces_;
  std::vector<size_t> rounds_;  // the first piece of each
  std::map<float, std::vector<at::Tensor>> kept_;
  int64_t kept_bytes_ = 0;
  int64_t tokens_ = 0;
};

}  // namespace quell
