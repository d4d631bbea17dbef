// Observers turn the values seen at a site into a range.
#pragma once

#include <vector>

#include "framework/quant/spec.h"

namespace quell {

// A plug-in of observers/. Built as Class(const Params&, const QuantSpec&).
class Observer {
 public:
  virtual ~Observer() = default;
  // One batch of values: rows [n, features] float32, n > 0 (a weight vector: [n]). Throws Error
  // when empty.
  virtual void observe(const at::Tensor& rows) = 0;
  // The range over what was observed since the last reset(), one entry per scale of the
  // granularity. Throws Error when nothing was observed.
  virtual Range range() const = 0;
  virtual void reset() = 0;
  // Whether the range is that of the last batch, whatever came before it: whoever calibrates may
  // leave the earlier ones out.
  virtual bool last_batch_decides() const { return false; }

  // What was observed since the last reset(), and an observer of the same parameters that takes it
  // over: its range() is the same to the bit. Empty where what was seen is not enough, because the
  // range of a batch depends on the bits.
  virtual std::vector<at::Tensor> state() const { return {}; }
  virtual void set_state(const std::vector<at::Tensor>&) {}
};

}  // namespace quell
