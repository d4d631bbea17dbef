// What transforms did to the weights of a model, so that it can be done again to those that are
// read anew.
#pragma once

#include <ATen/core/Tensor.h>
#include <cstddef>
#include <map>
#include <vector>

#include "framework/model/model.h"
#include "framework/quant/named_tensors.h"
#include "framework/quant/site_points.h"

namespace quell {

// Of each feature of a group's rows, float32 [features]; undefined: none.
struct ChannelChange {
  at::Tensor shift, scale;
};

// Changes in their order, each of which is a few vectors: of a model that is larger than the memory
// they are all that has to be kept, and doing them again gives the same bits.
class Rewrites {
 public:
  // Of a model whose graph keeps its groups. Both must live as long as the result.
  Rewrites(Model& model, SitePoints& points);

  // Makes (x - shift) / scale of the rows x of the group's site: its norm or producers give them
  // so, readers and shortcuts undo it. Readers' biases take W * shift of the weight W before the
  // scale. A norm or reader without a bias gets one where there is a shift, which only a norm can
  // take. Outlier Suppression+, section 4.3; gamma migration is the same with a scale of gamma.
  // Done to what is in memory. Parameters that were found for the old values are forgotten.
  void add(const ScaleGroup& group, const ChannelChange& change);
  // All of them, to the tensors of a segment that were just read.
  void redo(size_t segment) const;

  size_t size() const { return changes_.size(); }
  // The changes from one on, as tensors, and add() for those of another run. Throws DataError where
  // they are of another model.
  NamedTensors state(size_t first) const;
  void add_all(const NamedTensors& state);

 private:
  struct Change {
    size_t group;
    ChannelChange change;
  };

  std::vector<ScaleGroup>& groups() const { return model_.graph().groups; }

  Model& model_;
  SitePoints& points_;
  std::map<const at::Tensor*, size_t> segment_of_;  // of each place that a segment fills
  std::vector<Change> changes_;
};

}  // namespace quell
