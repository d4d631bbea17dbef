// How passes over many batches go through a model: batch by batch, all of it in memory, or segment
// by segment, with the tensors of one segment in memory at a time. Both give the same bits.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <string>

#include "framework/model/model.h"
#include "framework/model/outputs.h"
#include "framework/model/residency.h"
#include "framework/model/state_store.h"
#include "framework/model/step_progress.h"

namespace quell {

enum class BatchOrder {
  kAtOnce,   // side by side, one thread each
  kInOrder,  // one after another, for observers, whose ranges depend on the order
};

// The pass for a batch.
using PassOfBatch = std::function<std::shared_ptr<const Pass>(size_t batch)>;
// Counts runs of a batch, or of a segment on a batch.
using CountRuns = std::function<void(int64_t done, int64_t total)>;

// Where a pass keeps how far it came, and what it collects besides outputs, so that after a stop it
// goes on with the next segment. A pass that collects anything else starts anew: it has none.
struct Resumable {
  const StepProgress* progress = nullptr;  // of the step that runs; null: it starts anew
  std::string pass = {};                   // its name among those of the step
  // What was collected in the segments in front of `next`.
  std::function<NamedTensors(size_t next)> collected = {};
  std::function<void(const NamedTensors&)> take = {};
};

// Segments from one to another.
struct SegmentRange {
  size_t first = 0;
  size_t end = std::numeric_limits<size_t>::max();
};

class Execution {
 public:
  // `device_bytes`: that states between segments may take on another device than the host.
  explicit Execution(int64_t device_bytes = kNoLimit) : device_bytes_(device_bytes) {}
  virtual ~Execution() = default;
  // Runs all batches through the model. An empty sink receives nothing. Only where segments take
  // turns in memory a pass is long enough to be resumed.
  virtual void run(std::span<const Batch> batches, const PassOfBatch& pass, BatchOrder order,
                   const OutputSink& sink, const CountRuns& count = {},
                   const Resumable& resumable = {}) = 0;
  // Calls `work` with each of these segments in turn, while its tensors are in memory.
  virtual void for_each_segment(const std::function<void(const Segment&)>& work,
                                SegmentRange range = {}) = 0;
  // The states in which the first batches enter the first segment, in a store of their own.
  virtual std::unique_ptr<StateStore> first_states(size_t batches) const {
    return states_in_memory(batches, device_bytes_);
  }

 private:
  int64_t device_bytes_;
};

// Of a model that was loaded. The model must live as long as the result.
std::unique_ptr<Execution> execute_whole(const Model& model, int64_t device_bytes = kNoLimit);
// Of one segment, while its tensors are in memory, from the states in front of it, which stay. Runs
// of it take all inputs; they give outputs in the last segment alone. All must live as long as the
// result.
std::unique_ptr<Execution> execute_segment(const Segment& segment,
                                           std::span<const ModelInput> inputs, StateStore& states);
// With the states between segments in memory, or, where `folder` is not empty, in a file there
// without a name. Model, residency and points must live as long as the result.
std::unique_ptr<Execution> execute_by_segment(const Model& model, Residency& residency,
                                              const SitePoints& points,
                                              std::filesystem::path folder,
                                              int64_t device_bytes = kNoLimit);

}  // namespace quell
