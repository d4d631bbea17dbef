// What `adaround` can be told.
#pragma once

#include <filesystem>

#include "framework/config/schema.h"
#include "framework/kernels/soft_rounding.h"

namespace quell {

template <>
struct EnumNames<kernels::Relaxation> {
  static constexpr std::pair<const char*, kernels::Relaxation> values[] = {
      {"hard_sigmoid", kernels::Relaxation::kHardSigmoid},
      {"sigmoid", kernels::Relaxation::kSigmoid},
      {"temperature_sigmoid", kernels::Relaxation::kTemperatureSigmoid}};
};

// What is reconstructed at once.
enum class Reconstruct {
  kLayer,  // the outputs of each weight by itself
  kBlock,  // those of a segment of the model, all of its weights together (BRECQ)
};

template <>
struct EnumNames<Reconstruct> {
  static constexpr std::pair<const char*, Reconstruct> values[] = {{"layer", Reconstruct::kLayer},
                                                                   {"block", Reconstruct::kBlock}};
};

// Over which rows the loss of a layer is taken in each iteration.
enum class RoundingLoss {
  kMoments,  // all, from second moments, wherever outputs are linear in the weight
  kBatches,  // random sequences, as published
};

template <>
struct EnumNames<RoundingLoss> {
  static constexpr std::pair<const char*, RoundingLoss> values[] = {
      {"moments", RoundingLoss::kMoments}, {"batches", RoundingLoss::kBatches}};
};

// Which range the grid of a weight spans.
enum class RoundingGrid {
  kCalibrated,  // the one that was found before
  kMse,         // of 80 shrunk ranges the one with the smallest error of the weight
  kMseOut,      // of the layer's outputs, for inputs of the float network
  kMseOutAsym,  // for inputs of the quantized network
};

template <>
struct EnumNames<RoundingGrid> {
  static constexpr std::pair<const char*, RoundingGrid> values[] = {
      {"calibrated", RoundingGrid::kCalibrated},
      {"mse", RoundingGrid::kMse},
      {"mse_out", RoundingGrid::kMseOut},
      {"mse_out_asym", RoundingGrid::kMseOutAsym}};
};

// How the exponent of the regularizer falls after the warm-up.
enum class BetaDecay { kCosine, kLinear };

template <>
struct EnumNames<BetaDecay> {
  static constexpr std::pair<const char*, BetaDecay> values[] = {{"cosine", BetaDecay::kCosine},
                                                                 {"linear", BetaDecay::kLinear}};
};

// The course of an optimization.
struct RoundingSchedule {
  int64_t iterations = 10000;
  double learning_rate = 1e-3;
  double regularizer = 0.01;
  double warmup = 0.2;
  double beta_start = 20;
  double beta_end = 2;
  BetaDecay decay = BetaDecay::kCosine;
  kernels::Relaxation relaxation = kernels::Relaxation::kHardSigmoid;

  template <class V>
  static void describe(V& v) {
    v("iterations", &RoundingSchedule::iterations, "steps of Adam for each layer or block",
      at_least(1));
    v("learning_rate", &RoundingSchedule::learning_rate, "of Adam", greater_than(0));
    v("regularizer", &RoundingSchedule::regularizer,
      "weight of the sum of 1 - |2 h - 1|^beta over the shares h of rounding up", at_least(0));
    v("warmup", &RoundingSchedule::warmup, "share of the iterations without the regularizer",
      in_range(0, 0.99));
    v("beta_start", &RoundingSchedule::beta_start,
      "beta at the end of the warm-up, or the first temperature", greater_than(0));
    v("beta_end", &RoundingSchedule::beta_end, "at the last iteration", greater_than(0));
    v("decay", &RoundingSchedule::decay, "how beta, or the temperature, falls between them");
    v("relaxation", &RoundingSchedule::relaxation,
      "h of the learned variable; temperature_sigmoid: that falls from beta_start to beta_end, in "
      "place of the regularizer");
  }
};

struct AdaRoundOptions : RoundingSchedule {
  Reconstruct reconstruct = Reconstruct::kLayer;
  RoundingLoss loss = RoundingLoss::kMoments;
  RoundingGrid grid = RoundingGrid::kCalibrated;
  bool asymmetric = true;
  bool include_nonlinearity = true;
  bool quantize_activations = false;
  double drop = 0;
  int64_t batch_size = 8;
  int64_t memory = 512;
  std::filesystem::path scratch;

  template <class V>
  static void describe(V& v) {
    v("reconstruct", &AdaRoundOptions::reconstruct,
      "layer: the outputs of each weight, one after another; block: those of each segment "
      "(embeddings, a layer, the head), with all of its weights learned together (BRECQ)");
    v("loss", &AdaRoundOptions::loss,
      "moments: over all calibration tokens in every iteration, from second moments of the inputs, "
      "wherever outputs are linear in the weight, and batches elsewhere; batches: random sequences "
      "in every iteration, as published; for layers");
    v("grid", &AdaRoundOptions::grid,
      "range of each weight: the calibrated one, or the best of 80 that shrink from the largest "
      "absolute value by the squared error of the weight (mse), or of the layer's outputs for "
      "inputs of the float (mse_out) or of the quantized network (mse_out_asym); for layers");
    v("asymmetric", &AdaRoundOptions::asymmetric,
      "inputs come from the network with quantized weights; false: from the float one. Targets "
      "always come from the float network");
    v("include_nonlinearity", &AdaRoundOptions::include_nonlinearity,
      "compare outputs behind the activation function of a linear; for layers");
    v("quantize_activations", &AdaRoundOptions::quantize_activations,
      "inputs come from a network with quantized activations, too; published: they are quantized "
      "afterwards");
    v("drop", &AdaRoundOptions::drop,
      "probability that a value of an activation is left unquantized in an iteration (QDrop; 0.5 "
      "there); needs `reconstruct: block` and `quantize_activations: true`",
      in_range(0, 0.99));
    v("batch_size", &AdaRoundOptions::batch_size,
      "sequences of an iteration; a block takes whole calibration batches that have about as many",
      at_least(1));
    RoundingSchedule::describe(v);
    v("memory", &AdaRoundOptions::memory,
      "MiB for inputs, targets and states of the network; what is beyond lies on disk",
      at_least(0));
    v("scratch", &AdaRoundOptions::scratch,
      "folder for what lies on disk; absent: the system's folder for temporary files",
      existing_folder());
  }
};

}  // namespace quell
