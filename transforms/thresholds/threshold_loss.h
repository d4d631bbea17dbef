// What a threshold of Outlier Suppression+ costs: how far quantization moves the outputs of a
// group's readers once channels that exceed the threshold are scaled down to it.
#pragma once

#include <ATen/core/Tensor.h>
#include <memory>
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

// What a loss is computed from.
struct SearchedGroup {
  const ScaleGroup& group;
  const Model& model;
  const SitePoints& points;
  Range features;  // the extremes of the rows of all batches, float32 [features]
  LossForm form = LossForm::kOwn;

  // How the rows are quantized.
  const QuantSpec& spec() const;
  // Rows divided by a scale and quantized: those of one scale in [-threshold, threshold], others in
  // their extremes. `as_codes`: see QuantizedRows.
  QuantizedRows quantized(const at::Tensor& rows, const at::Tensor& scale, float threshold,
                          bool as_codes) const;
  // A threshold from the middle of the grid, by which losses put what matters in front.
  float typical_threshold() const;
};

// In all of this the loss is the sum of squared differences over features, averaged over the tokens
// that are no padding, of what the readers' outputs are combined to (ScaleGroup::combined), or of
// the outputs themselves, without biases. Quantized are the rows and the readers' weights.
// Equation 6. It is computed in rounds, so that a search can give a threshold up.
class ThresholdLoss {
 public:
  virtual ~ThresholdLoss() = default;
  virtual size_t rounds() const = 0;
  // What a round adds to the loss of a threshold: not negative. NaN or an error where the network
  // gives NaN.
  virtual double add(float threshold, size_t round) = 0;
};

// The group's weights and biases must stay as they are as long as the loss lives, and nobody else
// use the group.
std::unique_ptr<ThresholdLoss> threshold_loss(const SearchedGroup& group,
                                              const std::vector<GroupInput>& inputs);

}  // namespace quell
