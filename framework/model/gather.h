// Batches of some of the rows of others.
#pragma once

#include <span>

#include "framework/model/batch.h"

namespace quell {

struct BatchSequence {
  size_t batch = 0;
  int64_t sequence = 0;
};

// The chosen sequences, in their order. The network gives for them what it gives within their
// batches. Attention matrices get the most columns of all `batches`, which must have no decoder
// side.
Batch gather(std::span<const Batch> batches, std::span<const BatchSequence> chosen);

// The batch without the rows of its padding: the network computes the same for the others, but for
// the order of sums. Not for batches with a decoder side.
Batch drop_padding(const Batch& batch);

}  // namespace quell
