// Adam with decoupled weight decay on float32 tensors.
#pragma once

#include <ATen/core/Tensor.h>
#include <string>
#include <vector>

#include "framework/config/enum_name.h"
#include "framework/model/step_progress.h"

namespace quell {

// A tensor that gradient descent changes.
struct TrainedTensor {
  std::string name;          // unique; its optimizer state is stored under it
  at::Tensor tensor;         // float32, contiguous, a leaf that requires gradients
  double learning_rate = 1;  // factor on the learning rate of a step
  double weight_decay = 0;   // times the learning rate: the share that a step takes away
};

enum class AdamVariant {
  kPytorch,       // torch.optim.Adam (without decay) and AdamW: decays before the update
  kTransformers,  // AdamW of Hugging Face transformers 4: epsilon before the bias correction,
                  // decays after the update
};

template <>
struct EnumNames<AdamVariant> {
  static constexpr std::pair<const char*, AdamVariant> values[] = {
      {"pytorch", AdamVariant::kPytorch}, {"transformers", AdamVariant::kTransformers}};
};

struct AdamOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  AdamVariant variant = AdamVariant::kPytorch;
};

// Kingma and Ba 2015; Loshchilov and Hutter 2019 for the decay. The same operations on float32 as
// the single-tensor implementation of the variant, element by element, so that results do not
// depend on the number of threads.
class Adam {
 public:
  Adam(std::vector<TrainedTensor> trained, const AdamOptions& options);

  const std::vector<TrainedTensor>& trained() const { return trained_; }
  int64_t steps() const { return steps_; }

  // One step along the gradients of the tensors; one without a gradient stays as it is.
  void step(double learning_rate);
  void clear_gradients();

  // Moments and number of steps, without the tensors themselves. Names begin with "adam.".
  NamedTensors state() const;
  // Throws DataError when a moment is missing or of another shape.
  void set_state(const NamedTensors& state);

 private:
  // A tensor and its moments as vectors.
  struct Flat {
    at::Tensor values, first, second;
  };
  // Few enough neighbouring elements to stay in the cache over all operations of a step.
  struct Chunk {
    size_t tensor;
    int64_t begin, length;
  };

  void update(const Chunk& chunk, const at::Tensor& gradients, double learning_rate);

  std::vector<TrainedTensor> trained_;
  AdamOptions options_;
  std::vector<Flat> flat_;
  std::vector<Chunk> chunks_;
  int64_t steps_ = 0;
};

}  // namespace quell
