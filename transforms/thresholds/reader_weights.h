// The weights of a group's readers, as the loss of a search sees them.
#pragma once

#include <ATen/core/Tensor.h>
#include <vector>

#include "framework/model/model.h"
#include "transforms/thresholds/quantized_product.h"

namespace quell {

// How the losses of a search treat readers that the network quantizes one by one.
enum class LossForm {
  kOwn,        // as the network does: each weight has its own scales
  kPublished,  // stacked into one matrix that has its own; heads of a fused projection mixed up
};

// With kPublished, biases of the readers may be others until the object goes.
class ReaderWeights {
 public:
  // With kPublished, readers that are parts of one matrix in the file (BLOOM: of each head query,
  // key and value) read its rows in that order, as if all queries stood in front: the published
  // code takes the matrix apart so.
  ReaderWeights(const ScaleGroup& group, const Model& model, const SitePoints& points,
                LossForm form);
  ~ReaderWeights();
  ReaderWeights(const ReaderWeights&) = delete;

  // What a reader multiplies: rows of a matrix that is quantized as one.
  struct Part {
    at::Tensor values;                // [outputs, inputs]
    const QuantSpec* spec = nullptr;  // null: it stays in float
    Range features;                   // the extremes of the matrix' columns
    bool as_codes = false;            // see multiplies_codes()

    QuantizedWeight plain() const { return QuantizedWeight(values); }
    // Rows `first` .. `end` with columns multiplied by `scale`.
    QuantizedWeight quantized(const at::Tensor& scale, int64_t first, int64_t end) const;
    // Whether rows can be quantized apart from the others.
    bool divides() const;
  };
  // One for each reader, in their order.
  const std::vector<Part>& parts() const { return parts_; }

 private:
  struct Saved {
    Linear* linear;
    at::Tensor bias;
  };

  std::vector<Saved> saved_;
  std::vector<Part> parts_;
};

}  // namespace quell
