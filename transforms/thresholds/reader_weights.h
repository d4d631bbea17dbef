// Weights that are put into a group's readers for a while.
#pragma once

#include <ATen/core/Tensor.h>
#include <vector>

#include "framework/model/model.h"

namespace quell {

// How the losses of a search treat readers that the network quantizes one by one.
enum class LossForm {
  kOwn,        // as the network does: each weight has its own scales
  kPublished,  // stacked into one matrix that has its own; heads of a fused projection mixed up
};

// The readers of a group with other weights, until the object goes. Nothing else may use them
// meanwhile.
class ReaderWeights {
 public:
  // With kPublished, readers that are parts of one matrix in the file (BLOOM: of each head query,
  // key and value) read its rows in that order, as if all queries stood in front: the published
  // code takes the matrix apart so.
  ReaderWeights(const ScaleGroup& group, const Model& model, const SitePoints& points,
                LossForm form);
  ~ReaderWeights();
  ReaderWeights(const ReaderWeights&) = delete;

  // What is quantized as one, and how: [outputs, inputs] each; null where it stays in float.
  struct Matrix {
    at::Tensor values;
    const QuantSpec* spec = nullptr;
  };
  const std::vector<Matrix>& matrices() const { return matrices_; }
  // Values for all of them, in their order.
  void use(const std::vector<at::Tensor>& values);

 private:
  struct Saved {
    Linear* linear;
    at::Tensor weight, bias;
  };

  bool stacked_;
  std::vector<Saved> saved_;
  std::vector<Matrix> matrices_;
};

}  // namespace quell
