// How passes over many batches go through a model: batch by batch, all of it in memory, or segment
// by segment, with the tensors of one segment in memory at a time. Both give the same bits.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <span>

#include "framework/model/model.h"
#include "framework/model/outputs.h"
#include "framework/model/residency.h"
#include "framework/model/state_store.h"

namespace quell {

enum class BatchOrder {
  kAtOnce,   // side by side, one thread each
  kInOrder,  // one after another, for observers, whose ranges depend on the order
};

// The pass for a batch.
using PassOfBatch = std::function<std::shared_ptr<const Pass>(size_t batch)>;
// Counts runs of a batch, or of a segment on a batch.
using CountRuns = std::function<void(int64_t done, int64_t total)>;

class Execution {
 public:
  virtual ~Execution() = default;
  // Runs all batches through the model. An empty sink receives nothing.
  virtual void run(std::span<const Batch> batches, const PassOfBatch& pass, BatchOrder order,
                   const OutputSink& sink, const CountRuns& count = {}) = 0;
  // Calls `work` with each segment in turn, while its tensors are in memory.
  virtual void for_each_segment(const std::function<void(const Segment&)>& work) = 0;
  // Whether all tensors are in memory all the time, so that they may be changed.
  virtual bool keeps_changes() const = 0;
  // Where states between segments lie.
  virtual std::unique_ptr<StateStore> new_states(size_t batches) const {
    return states_in_memory(batches);
  }
};

// Of a model that was loaded. The model must live as long as the result.
std::unique_ptr<Execution> execute_whole(const Model& model);
// Of one segment, while its tensors are in memory, from the states in front of it, which stay. Runs
// of it take all inputs; they give outputs in the last segment alone. All must live as long as the
// result.
std::unique_ptr<Execution> execute_segment(const Segment& segment,
                                           std::span<const ModelInput> inputs, StateStore& states);
// With the states between segments in memory, or, where `folder` is not empty, in a file there
// without a name. Model and residency must live as long as the result.
std::unique_ptr<Execution> execute_by_segment(const Model& model, Residency& residency,
                                              std::filesystem::path folder);

}  // namespace quell
