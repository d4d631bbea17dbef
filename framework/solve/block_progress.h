// How far a step came that goes through a model block by block, so that after a stop it goes on
// with the next one.
#pragma once

#include <cstddef>

#include "framework/model/pipeline.h"
#include "framework/model/walk_progress.h"

namespace quell {

// Kept are the states in front of the next block, and what the step did since it began: changes of
// weights, quantizers of the blocks behind it, records, and numbers of its own.
class BlockProgress {
 public:
  // Of the step that runs in this context. Takes over what a stopped run kept, so that the step
  // finds everything as it left it, but for `states`.
  explicit BlockProgress(PipelineContext& context);

  // The segment to go on with; 0: the step begins.
  size_t next() const { return walk_.next(); }
  void take_states(StateStore& states, size_t batches) const { walk_.take_states(states, batches); }
  // What the step saved of its own.
  NamedTensors own() const;

  // Behind a segment, where it is time; `own`: more that the step wants back.
  void save(const Segment& done, const StateStore& states, size_t batches,
            const NamedTensors& own = {});
  // Where no segment is left.
  void save_end(const NamedTensors& own = {});

 private:
  NamedTensors state(size_t next, const NamedTensors& own) const;

  PipelineContext& context_;
  size_t first_change_, first_record_;
  WalkProgress walk_;
};

}  // namespace quell
