#include "framework/model/step_progress.h"

#include <fmt/format.h>
#include <algorithm>

#include "framework/base/error.h"
#include "framework/io/safetensors.h"
#include "framework/quant/device.h"

namespace quell {
namespace {

constexpr const char* kExperiment = "experiment";  // in the metadata of the file

// The line in which two texts first differ, as the second has it.
std::string first_difference(const std::string& ours, const std::string& theirs) {
  const auto [our_end, their_end] =
      std::mismatch(ours.begin(), ours.end(), theirs.begin(), theirs.end());
  const auto at = static_cast<size_t>(their_end - theirs.begin());
  const size_t begin = at == 0 ? 0 : theirs.rfind('\n', at - 1) + 1;
  return theirs.substr(begin, theirs.find('\n', at) - begin);
}

}  // namespace

StepProgress::StepProgress(std::filesystem::path file, std::string experiment,
                           std::chrono::milliseconds interval)
    : file_(std::move(file)), experiment_(std::move(experiment)), interval_(interval) {
  if (!std::filesystem::exists(file_)) return;
  const SafetensorsFile stored(file_);
  const auto theirs = stored.metadata().find(kExperiment);
  if (theirs == stored.metadata().end() || theirs->second != experiment_) {
    const std::string line = theirs == stored.metadata().end()
                                 ? "it names no experiment"
                                 : "it has: " + first_difference(experiment_, theirs->second);
    throw ConfigError(fmt::format(
        "{}: the stopped run was of another experiment ({}); use --overwrite to start anew, or "
        "--output to write elsewhere",
        file_.string(), line));
  }
  for (const std::string& name : stored.names()) saved_[name] = stored.read(name);
}

std::filesystem::path StepProgress::folder() const {
  std::filesystem::path folder = file_;
  return folder.empty() ? folder : folder.replace_extension();
}

StepProgress StepProgress::part(const std::string& name) const {
  if (file_.empty()) return {};
  return {folder() / (name + file_.extension().string()), experiment_, interval_};
}

void StepProgress::remove_part(const std::string& name) const {
  if (file_.empty()) return;
  std::filesystem::remove(folder() / (name + file_.extension().string()));
  std::filesystem::remove_all(folder() / name);
}

bool StepProgress::due() const { return !file_.empty() && Clock::now() - last_ >= interval_; }

void StepProgress::save(const NamedTensors& tensors) {
  if (file_.empty()) return;
  std::filesystem::create_directories(file_.parent_path());
  std::vector<std::pair<std::string, at::Tensor>> kept;
  for (const auto& [name, tensor] : tensors) {
    kept.emplace_back(name, on_host(tensor, "progress of steps"));
  }
  write_safetensors(file_, kept, {{kExperiment, experiment_}});
  last_ = Clock::now();
}

}  // namespace quell
