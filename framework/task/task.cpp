#include "framework/task/task.h"

#include <mutex>

#include "framework/quant/parallel.h"

namespace quell {

void predict_all(const Predictor& predictor, std::span<const Batch> batches,
                 const OutputSink& sink) {
  if (predictor.predict_all) return predictor.predict_all(batches, sink);
  std::mutex mutex;
  // One thread per batch: layers are too small to be shared out well.
  for_each_dynamically(static_cast<int64_t>(batches.size()), [&](int64_t index) {
    const auto batch = static_cast<size_t>(index);
    const Outputs outputs = predictor.predict(batches[batch]);
    const std::lock_guard lock(mutex);
    sink(batch, outputs);
  });
}

}  // namespace quell
