// What `qat` can be told.
#pragma once

#include <optional>

#include "framework/config/schema.h"
#include "framework/train/adam.h"
#include "framework/train/schedule.h"

namespace quell {

enum class TrainingSource { kTrain, kCalibration };

template <>
struct EnumNames<TrainingSource> {
  static constexpr std::pair<const char*, TrainingSource> values[] = {
      {"train", TrainingSource::kTrain}, {"calibration", TrainingSource::kCalibration}};
};

// Which tensors weight decay takes away from.
enum class Decayed {
  kWeights,  // of linears and embeddings
  kPublished,
};

template <>
struct EnumNames<Decayed> {
  static constexpr std::pair<const char*, Decayed> values[] = {{"weights", Decayed::kWeights},
                                                               {"published", Decayed::kPublished}};
};

// Ranges that are not learned, but follow what their observers see in training.
enum class Followed { kNone, kWeights, kActivations, kAll };

template <>
struct EnumNames<Followed> {
  static constexpr std::pair<const char*, Followed> values[] = {
      {"none", Followed::kNone},
      {"weights", Followed::kWeights},
      {"activations", Followed::kActivations},
      {"all", Followed::kAll}};
};

struct DistillationOptions {
  double weight = 0;
  double temperature = 1;

  template <class V>
  static void describe(V& v) {
    v("weight", &DistillationOptions::weight,
      "share of the distance to the float network's outputs in the loss; 1: no labels are needed",
      in_range(0, 1));
    v("temperature", &DistillationOptions::temperature, "of the compared probabilities",
      greater_than(0));
  }
};

struct QatOptions {
  bool quantize = true;
  TrainingSource data = TrainingSource::kTrain;
  int64_t samples = 0;
  int64_t epochs = 3;
  int64_t batch_size = 0;
  double learning_rate = 2e-5;
  double scale_learning_rate = 0;
  Decay schedule = Decay::kLinear;
  double warmup = 0.1;
  AdamVariant optimizer = AdamVariant::kPytorch;
  double weight_decay = 0.01;
  Decayed decayed = Decayed::kWeights;
  double max_gradient_norm = 1;
  Followed follow = Followed::kWeights;
  std::optional<double> dropout;
  bool clamp_scores = false;
  DistillationOptions distillation;
  int64_t checkpoint_every = 500;

  template <class V>
  static void describe(V& v) {
    v("quantize", &QatOptions::quantize, "false: train the float network");
    v("data", &QatOptions::data,
      "train: the labelled training examples of the task, in another order in every epoch; "
      "calibration: the calibration batches as they are");
    v("samples", &QatOptions::samples, "training examples, drawn by the seed; 0: all", at_least(0));
    v("epochs", &QatOptions::epochs, "passes over the data", at_least(1));
    v("batch_size", &QatOptions::batch_size, "sequences per step; 0: that of the task",
      at_least(0));
    v("learning_rate", &QatOptions::learning_rate, "the largest one", greater_than(0));
    v("scale_learning_rate", &QatOptions::scale_learning_rate,
      "the same for scales and zero points of quantizers; 0: no other", at_least(0));
    v("schedule", &QatOptions::schedule, "of the learning rate after the warm-up");
    v("warmup", &QatOptions::warmup,
      "share of steps in which the learning rate rises from 0; the first step then changes nothing",
      in_range(0, 1));
    v("optimizer", &QatOptions::optimizer, "whose AdamW: they differ in the order of operations");
    v("weight_decay", &QatOptions::weight_decay, "of AdamW", at_least(0));
    v("decayed", &QatOptions::decayed,
      "weights: matrices only; published: all but biases and norms, so that scales, zero points "
      "and "
      "migrated gammas shrink, too");
    v("max_gradient_norm", &QatOptions::max_gradient_norm,
      "gradients are scaled down to this norm; 0: never", at_least(0));
    v("follow", &QatOptions::follow,
      "ranges that are not learned, but follow what their observers see: of weights, anew before "
      "every step; of activations, which go on from calibration with every batch that is trained "
      "on; all, of both, as in Qualcomm's code where nothing is learned; or none");
    v("dropout", &QatOptions::dropout, "everywhere; absent: as config.json says",
      in_range(0, 0.99));
    v("clamp_scores", &QatOptions::clamp_scores,
      "of a regression: scores are cut to [0, 5] in front of the loss, as Qualcomm's BERT does; "
      "those outside have no gradient");
    v("distillation", &QatOptions::distillation, "learn from the float network");
    v("checkpoint_every", &QatOptions::checkpoint_every,
      "steps after which the progress is stored, so that a stopped run can go on; 0: never",
      at_least(0));
  }
};

}  // namespace quell
