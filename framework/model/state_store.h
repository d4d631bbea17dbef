// The states of all batches between two segments, in memory or in a file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
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

// Of memory on other devices: no limit.
constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

// Empty states in the beginning. Rows of other devices stay there as long as all of them together
// take no more than `device_bytes`; those beyond lie in the memory of the host meanwhile, pinned
// where the device is a GPU.
std::unique_ptr<StateStore> states_in_memory(size_t batches, int64_t device_bytes = kNoLimit);
// Rows lie in a file without a name in this folder, one after another, and are written in place as
// long as they keep their size. Throws Error when the disk is full.
std::unique_ptr<StateStore> states_on_disk(size_t batches, const std::filesystem::path& folder);

}  // namespace quell
