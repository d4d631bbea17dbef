// How far a walk through the segments of a model came, with what the batches take into the next
// one, on disk.
#pragma once

#include <cstddef>
#include <filesystem>

#include "framework/model/state_store.h"
#include "framework/model/step_progress.h"
#include "framework/quant/site_points.h"

namespace quell {

class WalkProgress {
 public:
  // Keeps it with `progress`, and takes over what is there. The points, whose grids the rows of
  // states lie on, must live as long as it does. States that are taken are on the device.
  WalkProgress(StepProgress progress, const SitePoints& points, at::Device device);

  // The segment to go on with; 0: the walk begins.
  size_t next() const { return next_; }
  // What was saved along.
  const NamedTensors& collected() const { return collected_; }
  // Puts the states in front of the next segment into the store; nothing where the walk begins or
  // saved none. Throws DataError where a file is missing or damaged.
  void take_states(StateStore& states, size_t batches) const;

  bool keeps() const { return !progress_.folder().empty(); }
  bool due() const { return progress_.due(); }
  // Replaces what was saved: a stop at any moment leaves the one or the other. Throws Error when
  // the disk is full.
  void save(size_t next, const StateStore& states, size_t batches, const NamedTensors& collected);
  // The same where no segment is left.
  void save_end(size_t next, const NamedTensors& collected);

 private:
  std::filesystem::path folder_of(size_t next) const;
  void commit(size_t next, size_t batches, const NamedTensors& collected);

  StepProgress progress_;
  const SitePoints& points_;
  at::Device device_;
  size_t next_ = 0;
  size_t batches_ = 0;  // of which there are states
  NamedTensors collected_;
};

}  // namespace quell
