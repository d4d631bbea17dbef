#include "framework/model/step_progress.h"

#include "framework/io/safetensors.h"

namespace quell {

StepProgress::StepProgress(std::filesystem::path file) : file_(std::move(file)) {
  if (!std::filesystem::exists(file_)) return;
  const SafetensorsFile stored(file_);
  for (const std::string& name : stored.names()) saved_[name] = stored.read(name);
}

void StepProgress::save(const NamedTensors& tensors) {
  if (file_.empty()) return;
  write_safetensors(file_, {tensors.begin(), tensors.end()});
}

}  // namespace quell
