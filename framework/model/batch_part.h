// Some sequences of a batch as a batch of their own.
#pragma once

#include "framework/model/batch.h"

namespace quell {

// The sequences first .. first + count. The network gives for them what it gives within the batch:
// attention matrices keep their columns. The batch must have no decoder side.
Batch part_of(const Batch& batch, int64_t first, int64_t count);

}  // namespace quell
