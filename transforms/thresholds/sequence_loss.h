// The loss of a threshold where compared values follow from all tokens of a sequence: the context
// of attention.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "transforms/thresholds/threshold_loss.h"

namespace quell {

// Sequences whose context is far off at a typical threshold come first.
class SequenceLoss final : public ThresholdLoss {
 public:
  SequenceLoss(const SearchedGroup& group, const std::vector<GroupInput>& inputs);

  size_t rounds() const override { return rounds_.size(); }
  double add(float threshold, size_t round) override;

 private:
  // Some sequences of a batch.
  struct Piece {
    at::Tensor rows;
    State state;
    ModelInput input;
    std::optional<RealRows> real;  // absent: all rows are
    int64_t tokens = 0;            // real ones
    at::Tensor targets = {};       // float outputs of real rows
  };
  // Of each reader.
  using Weights = std::vector<QuantizedWeight>;

  void add_pieces(const GroupInput& input);
  void add_piece(const at::Tensor& rows, State state, ModelInput input);
  void sort_by_loss();
  at::Tensor outputs(const Piece& piece, const Weights& weights, const QuantizedRows* codes,
                     const QuantizedRows* floats) const;
  double distance(const Piece& piece, const Weights& weights, const at::Tensor& scale,
                  float threshold) const;
  std::shared_ptr<const Weights> weights(const at::Tensor& scale, float threshold);

  SearchedGroup group_;
  ReaderWeights weights_;
  bool any_codes_ = false, any_floats_ = false;
  std::vector<Piece> pieces_;
  std::vector<size_t> rounds_;  // the first piece of each
  std::map<float, std::shared_ptr<const Weights>> kept_;
  int64_t kept_bytes_ = 0;
  int64_t tokens_ = 0;
};

}  // namespace quell
