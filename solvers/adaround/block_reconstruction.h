// Rounding of all weights of a segment at once, by the outputs of the segment: BRECQ (Li et al.
// 2021), and QDrop (Wei et al. 2022) where activations are left unquantized at random.
#pragma once

#include <memory>
#include <vector>

#include "solvers/adaround/networks.h"
#include "solvers/adaround/options.h"
#include "solvers/adaround/soft_weight.h"

namespace quell {

class BlockReconstruction {
 public:
  // Of these weights of a segment that both networks stand in front of; each iteration runs whole
  // calibration batches, as many as have about options.batch_size sequences.
  BlockReconstruction(PipelineContext& context, const AdaRoundOptions& options,
                      const TwoNetworks& networks, const Segment& segment,
                      const std::vector<SiteId>& weights);
  ~BlockReconstruction();

  int64_t iterations() const { return iterations_; }
  bool done() const { return iterations_ >= options_.iterations; }
  // One iteration; the loss in front of its step, without the regularizer.
  double step();

  // Mean squared error of the segment's outputs, as the points of its weights are.
  double mean_squared_error() const;
  // Hands the decisions to the quantizers of the weights, and returns how many values of each do
  // not take their nearest neighbour.
  std::vector<int64_t> decide();

  // What a stopped optimization goes on from.
  NamedTensors state() const;
  void set_state(const NamedTensors& state);

 private:
  class SoftQuantizer;
  class DroppingQuantizer;
  class Replaced;

  // Gradients by the soft weights, of one batch.
  struct Gradients {
    double loss = 0;
    std::vector<at::Tensor> weights;
  };

  std::vector<size_t> drawn_batches() const;
  std::vector<at::Tensor> outputs(size_t batch, const Pass& pass, State state) const;
  Gradients gradients(size_t batch) const;

  PipelineContext& context_;
  AdaRoundOptions options_;
  const TwoNetworks& networks_;
  const Segment& segment_;
  std::vector<SiteId> sites_;
  std::vector<std::unique_ptr<SoftWeight>> weights_;
  std::vector<at::Tensor> leaves_;  // their values, of the weights' shapes
  std::unique_ptr<StateStore> targets_;
  int64_t iterations_ = 0;
};

}  // namespace quell
