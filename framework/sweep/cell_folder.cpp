#include "framework/sweep/cell_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/run/run_folder.h"

namespace quell {
namespace fs = std::filesystem;
namespace {

std::string stored_fingerprint(const fs::path& folder) {
  if (!fs::exists(folder / kCellFile)) return "";
  const auto cell = nlohmann::json::parse(read_file(folder / kCellFile), nullptr, false);
  return cell.is_object() ? cell.value("fingerprint", "") : "";
}

}  // namespace

CellState cell_state(const fs::path& folder, const std::string& fingerprint) {
  if (stored_fingerprint(folder) != fingerprint) return CellState::kWaiting;
  if (fs::exists(folder / "metrics.json") && !fs::exists(progress_folder(folder))) {
    return CellState::kDone;
  }
  return fs::exists(folder / kErrorFile) ? CellState::kFailed : CellState::kWaiting;
}

fs::path cell_folder(const fs::path& output, const Cell& cell) {
  const fs::path own = output / cell.folder_name();
  std::error_code error;
  if (fs::exists(own, error)) return own;
  for (const auto& entry : fs::directory_iterator(output, error)) {
    if (entry.is_directory() && stored_fingerprint(entry.path()) == cell.fingerprint) {
      return entry.path();
    }
  }
  return own;
}

void write_cell_file(const fs::path& folder, const Cell& cell) {
  nlohmann::ordered_json root;
  root["format"] = "quell sweep cell";
  root["version"] = 1;
  root["label"] = cell.label;
  auto& settings = root["settings"] = nlohmann::ordered_json::object();
  for (const Setting& setting : cell.settings) settings[setting.key] = setting.text();
  root["fingerprint"] = cell.fingerprint;
  write_file(folder / kCellFile, root.dump(2) + "\n");
}

CellLock::CellLock(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  const fs::path file = folder / kLockFile;
  descriptor_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor_ < 0) {
    throw Error(fmt::format("{}: cannot create: {}; choose another folder with --output",
                            file.string(), std::strerror(errno)));
  }
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) == 0) return;
  const int reason = errno;
  ::close(descriptor_);
  descriptor_ = -1;
  if (reason == EWOULDBLOCK) return;
  throw Error(
      fmt::format("{}: this file system cannot lock files ({}); choose another with "
                  "--output",
                  file.string(), std::strerror(reason)));
}

CellLock::~CellLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

CellLock::CellLock(CellLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

}  // namespace quell
