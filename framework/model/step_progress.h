// What a long step of a pipeline keeps on disk, so that a stopped run goes on instead of starting
// anew.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>

#include "framework/model/tensor_store.h"

namespace quell {

class StepProgress {
 public:
  // Keeps nothing: save() does nothing and there is nothing saved.
  StepProgress() = default;
  // Keeps it in `file`, a safetensors file, of which due() reminds every `interval`. Takes over
  // what is there; throws DataError when it is damaged, and ConfigError when it is not of this
  // `experiment`, a resolved YAML text.
  StepProgress(std::filesystem::path file, std::string experiment,
               std::chrono::milliseconds interval = std::chrono::seconds(1));

  // What the step saved last before the run was stopped; empty when it starts anew. A step that
  // takes it over must end in the same bits as without.
  const NamedTensors& saved() const { return saved_; }
  // Where the step may keep what is too large for one file; empty: it keeps nothing.
  std::filesystem::path folder() const;
  // Of a part of the step, in that folder; and removes all that it keeps.
  StepProgress part(const std::string& name) const;
  void remove_part(const std::string& name) const;
  // Whether so much time has passed since the last save() that another is worth it.
  bool due() const;
  // Replaces what was saved, atomically. Tensors of float32, float64, int64 or uint8.
  void save(const NamedTensors& tensors);

 private:
  using Clock = std::chrono::steady_clock;

  std::filesystem::path file_;
  std::string experiment_;
  std::chrono::milliseconds interval_{};
  Clock::time_point last_ = Clock::now();
  NamedTensors saved_;
};

}  // namespace quell
