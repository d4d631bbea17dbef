// The float and the quantized network side by side, segment by segment: what enters each operation
// in both.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "framework/model/pipeline.h"
#include "solvers/adaround/reconstruction.h"

namespace quell {

class TwoNetworks {
 public:
  // States between segments of both lie on disk where `memory` has no room for them.
  // `quantize_activations`: all that are to be quantized, which must have ranges. Not
  // `asymmetric`: the quantized network is the float one.
  TwoNetworks(PipelineContext& context, bool asymmetric, bool quantize_activations,
              RowMemory& memory);

  bool asymmetric() const { return asymmetric_; }
  size_t batches() const { return inputs_.size(); }
  const ModelInput& input(size_t batch) const { return inputs_[batch]; }
  State original_state(size_t batch) const { return original_->get(batch); }
  State quantized_state(size_t batch) const {
    return asymmetric_ ? quantized_->get(batch) : original_->get(batch);
  }
  const Pass& original_pass() const { return original_pass_; }
  // What the quantized network quantizes now: all weights, and activations where asked for.
  const Pass& quantized_pass() const { return quantized_pass_; }
  // Empty states of all batches, where those of the networks are: in memory or on disk.
  std::unique_ptr<StateStore> new_states() const;

  // Hands over what enters the operation of a weight of the segment that both networks stand in
  // front of, batch by batch. The operation is the model's own.
  void for_each_input(
      const Segment& segment, SiteId weight,
      const std::function<void(const Operand&, const OperationInputs&)>& sink) const;
  // Both step behind the segment.
  void advance(const Segment& segment);

 private:
  struct Entered {
    std::optional<Operand> operand;
    std::vector<at::Tensor> rows;
  };

  Entered entered(const Segment& segment, SiteId weight, size_t batch, bool quantized) const;

  PipelineContext& context_;
  bool asymmetric_;
  SiteSet quantized_sites_;
  std::vector<ModelInput> inputs_;
  Pass original_pass_, quantized_pass_;
  std::filesystem::path folder_;  // of states; empty: in memory
  std::unique_ptr<StateStore> original_, quantized_;
};

}  // namespace quell
