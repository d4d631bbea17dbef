// The states of all batches between two segments, in memory or in a file.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <vector>

#include "framework/model/model_input.h"

namespace quell {

// Several threads may load and save states of different batches at once.
class StateStore {
 public:
  virtual ~StateStore() = default;
  virtual State get(size_t batch) const = 0;
  // Hands the state of a batch out, which is then no longer there.
  virtual State take(size_t batch) = 0;
  virtual void put(size_t batch, State state) = 0;
};

// Empty states in the beginning.
std::unique_ptr<StateStore> states_in_memory(size_t batches);
// Rows lie in a file without a name in this folder, one after another, and are written in place as
// long as they keep their size. Throws Error when the disk is full.
std::unique_ptr<StateStore> states_on_disk(size_t batches, const std::filesystem::path& folder);

}  // namespace quell
