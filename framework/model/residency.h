// Which segments' tensors are in memory, and when.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "framework/model/model.h"
#include "framework/model/rewrites.h"

namespace quell {

class Residency {
 public:
  // Holds a segment's tensors in memory as long as it lives.
  using Lease = std::shared_ptr<const void>;

  virtual ~Residency() = default;
  // The tensors of a segment are there as long as the lease lives.
  virtual Lease acquire(size_t segment) = 0;
};

// Of a model that was loaded: everything is there.
std::unique_ptr<Residency> all_resident();

// One segment at a time, from the model's checkpoint, the next one being read meanwhile. `rewrites`
// are done to what was read; whatever else was changed in tensors is lost with the lease, and
// `points` forgets quantized weights then. Throws DataError where a value is not finite. All must
// live as long as it does.
std::unique_ptr<Residency> one_at_a_time(Model& model, const MatchedTensors& tensors,
                                         SitePoints& points, const Rewrites& rewrites);

}  // namespace quell
