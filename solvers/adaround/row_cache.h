// Rows of many sequences, in memory as far as a budget allows, and on disk beyond it.
#pragma once

#include <ATen/core/Tensor.h>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "framework/io/scratch_file.h"

namespace quell {

// What several caches share: bytes of memory that are still free, and a file for the rest.
class RowMemory {
 public:
  RowMemory(int64_t bytes, std::filesystem::path folder)
      : free_(bytes), folder_(std::move(folder)) {}

  int64_t free() const { return free_; }
  const std::filesystem::path& folder() const { return folder_; }
  // False where so much is not free.
  bool take(int64_t bytes);
  void give_back(int64_t bytes) { free_ += bytes; }

 private:
  int64_t free_;
  std::filesystem::path folder_;
};

class RowCache {
 public:
  explicit RowCache(RowMemory& memory) : memory_(memory) {}
  ~RowCache();
  RowCache(const RowCache&) = delete;
  RowCache& operator=(const RowCache&) = delete;

  // Adds sequences: float32 rows [rows, features], of which sequence s has begins[s] ..
  // begins[s + 1].
  void add(const at::Tensor& rows, std::span<const int64_t> begins);

  int64_t sequences() const { return std::ssize(places_); }
  int64_t features() const { return features_; }
  int64_t rows(int64_t sequence) const { return places_[static_cast<size_t>(sequence)].rows; }
  int64_t total_rows() const { return total_rows_; }
  bool on_disk() const { return file_ != nullptr; }

  // The rows of a sequence: where they lie, or, of those on disk, copied into `buffer` (of as many
  // values).
  const float* find(int64_t sequence, float* buffer) const;

 private:
  struct Place {
    int64_t rows = 0;
    const float* data = nullptr;  // null: on disk, from `begin`
    int64_t begin = 0;
  };

  RowMemory& memory_;
  int64_t features_ = 0, total_rows_ = 0, taken_ = 0;
  std::vector<Place> places_;
  std::vector<at::Tensor> kept_;  // what places point into
  std::unique_ptr<ScratchFile> file_;
};

}  // namespace quell
