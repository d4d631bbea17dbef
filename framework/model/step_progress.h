// What a long step of a pipeline keeps on disk, so that a stopped run goes on instead of starting
// anew.
#pragma once

#include <ATen/core/Tensor.h>
#include <filesystem>
#include <map>
#include <string>

namespace quell {

using NamedTensors = std::map<std::string, at::Tensor>;

class StepProgress {
 public:
  // Keeps nothing: save() does nothing and there is nothing saved.
  StepProgress() = default;
  // Keeps it in `file`, a safetensors file; reads what is there. Throws DataError when damaged.
  explicit StepProgress(std::filesystem::path file);

  // What the step saved last before the run was stopped; empty when it starts anew. A step that
  // takes it over must end in the same bits as without.
  const NamedTensors& saved() const { return saved_; }
  // Replaces what was saved, atomically. Tensors of float32, float64, int64 or uint8.
  void save(const NamedTensors& tensors);

 private:
  std::filesystem::path file_;
  NamedTensors saved_;
};

}  // namespace quell
