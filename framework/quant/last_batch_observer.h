// Observers whose range is that of the last batch, whatever came before it: whoever calibrates may
// leave the earlier ones out.
#pragma once

#include "framework/quant/observer.h"

namespace quell {

// A base beside Observer of those that say so.
class LastBatchObserver {
 public:
  virtual ~LastBatchObserver() = default;
};

inline bool last_batch_decides(const Observer& observer) {
  return dynamic_cast<const LastBatchObserver*>(&observer) != nullptr;
}

}  // namespace quell
