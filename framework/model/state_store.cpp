#include "framework/model/state_store.h"

#include <ATen/ops/empty.h>
#include <atomic>
#include <utility>

#include "framework/io/scratch_file.h"
#include "framework/quant/device.h"

namespace quell {
namespace {

class StatesInMemory final : public StateStore {
 public:
  StatesInMemory(size_t batches, int64_t device_bytes)
      : entries_(batches), device_bytes_(device_bytes) {}

  State get(size_t batch) const override { return back(entries_[batch].state, entries_[batch]); }

  State take(size_t batch) override {
    Entry entry = std::exchange(entries_[batch], {});
    used_ -= entry.used;
    return back(std::move(entry.state), entry);
  }

  void put(size_t batch, State state) override {
    used_ -= std::exchange(entries_[batch], {}).used;
    Entry entry;
    for (Rows* rows : {&state.rows, &state.memory}) {
      at::Tensor& values = rows->values;
      if (!values.defined() || values.device().is_cpu()) continue;
      entry.device = values.device();
      const auto bytes = static_cast<int64_t>(values.nbytes());
      if (used_.fetch_add(bytes) + bytes <= device_bytes_) {
        entry.used += bytes;
      } else {
        used_ -= bytes;
        values = on_host(values, "states beyond device_memory", HostMemory::kPinned);
      }
    }
    entry.state = std::move(state);
    entries_[batch] = std::move(entry);
  }

 private:
  struct Entry {
    State state;
    at::Device device = at::kCPU;  // that its rows are of
    int64_t used = 0;              // bytes of those that are still there
  };

  static State back(State state, const Entry& entry) {
    for (Rows* rows : {&state.rows, &state.memory}) {
      if (rows->values.defined()) rows->values = rows->values.to(entry.device);
    }
    return state;
  }

  std::vector<Entry> entries_;
  std::atomic<int64_t> used_ = 0;
  int64_t device_bytes_;
};

class StatesOnDisk final : public StateStore {
 public:
  StatesOnDisk(size_t batches, const std::filesystem::path& folder)
      : file_(folder, "states between layers"), entries_(batches) {}

  State get(size_t batch) const override {
    const Entry& entry = entries_[batch];
    State state = entry.state;
    state.rows.values = read(entry.rows);
    state.memory.values = read(entry.memory);
    return state;
  }

  State take(size_t batch) override { return get(batch); }

  void put(size_t batch, State state) override {
    Entry& entry = entries_[batch];
    write(state.rows.values, entry.rows);
    write(state.memory.values, entry.memory);
    state.rows.values = state.memory.values = at::Tensor();
    entry.state = std::move(state);
  }

 private:
  // Where a tensor lies; room is what was ever reserved for it.
  struct Place {
    at::Device device = at::kCPU;  // of the tensor
    std::vector<int64_t> shape;
    int64_t begin = 0, bytes = -1, room = 0;  // -1: there is no tensor
  };
  struct Entry {
    State state;  // without its rows
    Place rows, memory;
  };

  at::Tensor read(const Place& place) const {
    if (place.bytes < 0) return {};
    at::Tensor tensor = at::empty(place.shape, at::kFloat);
    file_.read(place.begin, tensor.mutable_data_ptr(), place.bytes);
    return tensor.to(place.device);
  }

  void write(const at::Tensor& tensor, Place& place) {
    place.bytes = -1;
    if (!tensor.defined()) return;
    const at::Tensor dense = on_host(tensor, "states on disk").contiguous();
    place.device = tensor.device();
    place.shape = dense.sizes().vec();
    place.bytes = static_cast<int64_t>(dense.nbytes());
    if (place.bytes > place.room) {
      place.begin = file_.reserve(place.bytes);
      place.room = place.bytes;
    }
    file_.write(place.begin, dense.const_data_ptr(), place.bytes);
  }

  ScratchFile file_;
  std::vector<Entry> entries_;
};

}  // namespace

std::unique_ptr<StateStore> states_in_memory(size_t batches, int64_t device_bytes) {
  return std::make_unique<StatesInMemory>(batches, device_bytes);
}

std::unique_ptr<StateStore> states_on_disk(size_t batches, const std::filesystem::path& folder) {
  return std::make_unique<StatesOnDisk>(batches, folder);
}

}  // namespace quell
