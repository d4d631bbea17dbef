// A network while it is trained: which of its tensors learn, and what goes with them.
#pragma once

#include <span>
#include <vector>

#include "framework/model/pipeline.h"
#include "solvers/training/options.h"

namespace quell {

// While it lives, the model and (where options say so) its quantizers require gradients.
class TrainedNetwork {
 public:
  // Throws Error when a site has no range yet, and ConfigError where progress is to be stored, but
  // an observer whose range follows cannot be.
  TrainedNetwork(PipelineContext& context, const QatOptions& options);
  ~TrainedNetwork();
  TrainedNetwork(const TrainedNetwork&) = delete;
  TrainedNetwork& operator=(const TrainedNetwork&) = delete;

  // What the network is trained with on a batch: quantized where options say so, dropping
  // activations, observing those whose range follows.
  Pass pass(const Batch& batch) const;
  // The model's parameters by their names, then "activation:encoder.0.ffn.gelu.scale" and the like.
  // The gamma of a migrated norm is none of them: it stays 1.
  const std::vector<TrainedTensor>& tensors() const { return tensors_; }
  // Before each step: draws dropout masks anew, and lets weights whose quantizer is not learned
  // have the range that their observer sees now.
  void start_step(int64_t step);
  // After each step: brings quantizers back to where they make sense.
  void end_step();
  // Everything that training changes, after a step.
  NamedTensors state() const;
  // Throws DataError when a tensor is missing or of another shape.
  void restore(const NamedTensors& state);
  // To be called when training is over, before this object goes: other steps must see what changed.
  void finish();

 private:
  void collect_parameters(const QatOptions& options);
  void collect_learnable(const QatOptions& options);
  void collect_observed(const QatOptions& options);
  void follow_weights();
  // Those of tensors() that are the model's.
  std::span<const TrainedTensor> parameters() const { return {tensors_.data(), parameters_}; }

  PipelineContext& context_;
  bool quantize_;
  Dropout dropout_;
  PassOptions pass_;
  std::vector<TrainedTensor> tensors_;
  size_t parameters_ = 0;
  std::vector<SiteId> learned_;   // sites whose quantizers learn
  std::vector<SiteId> followed_;  // weights whose ranges follow them
  std::vector<SiteId> observed_;  // activations whose ranges follow what is seen of them
};

}  // namespace quell
