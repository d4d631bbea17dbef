// The state that many observers share: a range that each batch updates.
#pragma once

#include "framework/base/error.h"
#include "framework/quant/observer.h"

namespace quell {

// An observer whose range follows from one range per batch. A subclass says what the range of a
// batch is, and how it changes what was known.
class BatchRangeObserver : public Observer {
 public:
  explicit BatchRangeObserver(const QuantSpec& spec) : spec_(spec) {}

  void observe(const at::Tensor& rows) final;
  Range range() const final;
  void reset() override { batches_ = 0; }
  std::vector<at::Tensor> state() const override;
  void set_state(const std::vector<at::Tensor>& state) override;

 protected:
  const QuantSpec& spec() const { return spec_; }
  // The extremes, unless a subclass knows better. `rows` is not empty.
  virtual Range batch_range(const at::Tensor& rows);
  // `known` and `batch` are one bound (min or max) of one scale; `batches` (> 0) were seen before.
  virtual float update_min(float known, float batch, int64_t batches) const = 0;
  virtual float update_max(float known, float batch, int64_t batches) const = 0;

 private:
  QuantSpec spec_;
  Range range_;
  int64_t batches_ = 0;
};

// Keeps the widest bounds of all batches. A NaN stays: it is reported when the range is used.
class WidestOfBatches : public BatchRangeObserver {
 public:
  using BatchRangeObserver::BatchRangeObserver;

 private:
  float update_min(float known, float batch, int64_t) const final {
    return known != known ? known : (batch >= known ? known : batch);
  }
  float update_max(float known, float batch, int64_t) const final {
    return known != known ? known : (batch <= known ? known : batch);
  }
};

// The mean over batches, every batch with equal weight. Sequential float32, as published: the order
// of the batches shows in the last bit.
class MeanOfBatches : public BatchRangeObserver {
 public:
  using BatchRangeObserver::BatchRangeObserver;
  // `known` is the mean of `batches` batches.
  static float average(float known, float batch, int64_t batches) {
    const float count = static_cast<float>(batches);
    return (known * count + batch) / (count + 1.0f);
  }

 private:
  float update_min(float known, float batch, int64_t batches) const final {
    return average(known, batch, batches);
  }
  float update_max(float known, float batch, int64_t batches) const final {
    return average(known, batch, batches);
  }
};

// Exponential moving average over batches, from the first one on.
class EmaOfBatches : public BatchRangeObserver {
 public:
  // `momentum` in [0, 1] is the weight of what was known before a batch.
  EmaOfBatches(const QuantSpec& spec, double momentum)
      : BatchRangeObserver(spec), momentum_(momentum) {}

 private:
  // The published codes multiply float32 tensors by doubles that are first rounded to float32.
  float average(float known, float batch) const {
    return static_cast<float>(1.0 - momentum_) * batch + static_cast<float>(momentum_) * known;
  }
  float update_min(float known, float batch, int64_t) const final { return average(known, batch); }
  float update_max(float known, float batch, int64_t) const final { return average(known, batch); }

  double momentum_;
};

}  // namespace quell
