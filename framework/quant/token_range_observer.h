// Observers whose range follows, for any share of tokens kept, from what they saw once.
#pragma once

#include "framework/quant/observer.h"

namespace quell {

// An observer that a search over the share of tokens can ask again and again. Outlier Suppression,
// section 4.2 (token-wise clipping, coarse stage).
class TokenRangeObserver : public Observer {
 public:
  // The share of tokens that are kept, in (0, 1]; range() follows without observing again, and
  // reset() leaves it. Throws Error outside of that interval.
  virtual void set_ratio(double ratio) = 0;
};

}  // namespace quell
