#include "framework/model/state_store.h"

#include <ATen/ops/empty.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "framework/base/error.h"

namespace quell {
namespace {

class StatesInMemory final : public StateStore {
 public:
  explicit StatesInMemory(size_t batches) : states_(batches) {}
  State get(size_t batch) const override { return states_[batch]; }
  State take(size_t batch) override { return std::move(states_[batch]); }
  void put(size_t batch, State state) override { states_[batch] = std::move(state); }

 private:
  std::vector<State> states_;
};

class StatesOnDisk final : public StateStore {
 public:
  StatesOnDisk(size_t batches, const std::filesystem::path& folder)
      : folder_(folder), entries_(batches) {
    std::string name = (folder / "states.XXXXXX").string();
    file_ = ::mkstemp(name.data());
    if (file_ < 0) fail("cannot be written");
    ::unlink(name.c_str());  // the disk is free again whatever becomes of the run
  }
  ~StatesOnDisk() override { ::close(file_); }
  StatesOnDisk(const StatesOnDisk&) = delete;
  StatesOnDisk& operator=(const StatesOnDisk&) = delete;

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
    auto* target = static_cast<char*>(tensor.mutable_data_ptr());
    for (int64_t done = 0; done < place.bytes;) {
      const ssize_t count = ::pread(file_, target + done, place.bytes - done, place.begin + done);
      if (count <= 0) fail("cannot be read");
      done += count;
    }
    return tensor;
  }

  void write(const at::Tensor& tensor, Place& place) {
    place.bytes = -1;
    if (!tensor.defined()) return;
    const at::Tensor dense = tensor.contiguous();
    place.shape = dense.sizes().vec();
    place.bytes = static_cast<int64_t>(dense.nbytes());
    if (place.bytes > place.room) {
      const std::lock_guard lock(mutex_);
      place.begin = end_;
      place.room = place.bytes;
      end_ += place.bytes;
    }
    const auto* source = static_cast<const char*>(dense.const_data_ptr());
    for (int64_t done = 0; done < place.bytes;) {
      const ssize_t count = ::pwrite(file_, source + done, place.bytes - done, place.begin + done);
      if (count <= 0) fail("cannot be written; is the disk full?");
      done += count;
    }
  }

  [[noreturn]] void fail(const char* what) const {
    throw Error(fmt::format("{}: states between layers {} ({})", folder_.string(), what,
                            std::strerror(errno)));
  }

  std::filesystem::path folder_;
  int file_ = -1;
  std::mutex mutex_;
  int64_t end_ = 0;
  std::vector<Entry> entries_;
};

}  // namespace

std::unique_ptr<StateStore> states_in_memory(size_t batches) {
  return std::make_unique<StatesInMemory>(batches);
}

std::unique_ptr<StateStore> states_on_disk(size_t batches, const std::filesystem::path& folder) {
  return std::make_unique<StatesOnDisk>(batches, folder);
}

}  // namespace quell
