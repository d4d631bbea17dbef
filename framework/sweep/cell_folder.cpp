#include "framework/sweep/cell_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <nlohmann/json.hpp>
#include <thread>
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

CellFolders::CellFolders(fs::path output) : output_(std::move(output)) {}

const std::map<std::string, fs::path>& CellFolders::by_fingerprint() {
  if (by_fingerprint_) return *by_fingerprint_;
  by_fingerprint_.emplace();
  std::error_code none_yet;
  for (const auto& entry : fs::directory_iterator(output_, none_yet)) {
    if (!entry.is_directory()) continue;
    const std::string fingerprint = stored_fingerprint(entry.path());
    if (!fingerprint.empty()) by_fingerprint_->emplace(fingerprint, entry.path());
  }
  return *by_fingerprint_;
}

fs::path CellFolders::of(const Cell& cell) {
  const fs::path own = output_ / cell.folder_name();
  if (stored_fingerprint(own) == cell.fingerprint) return own;
  const auto known = by_fingerprint().find(cell.fingerprint);
  return known == by_fingerprint().end() ? own : known->second;
}

fs::path experiment_file(const fs::path& folder) {
  return folder.parent_path() / "experiments" / (folder.filename().string() + ".yaml");
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

CellLock wait_for_lock(const fs::path& folder) {
  constexpr auto kInterval = std::chrono::milliseconds(20);
  for (;;) {
    CellLock lock(folder);
    if (lock.held()) return lock;
    std::this_thread::sleep_for(kInterval);
  }
}

}  // namespace quell
