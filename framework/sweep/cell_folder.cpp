#include "framework/sweep/cell_folder.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <utility>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/json/json.h"
#include "framework/record/run_folder.h"

namespace quell {
namespace fs = std::filesystem;
namespace {

// Empty for a folder that is no cell's; one whose file is damaged is computed anew.
std::string stored_fingerprint(const fs::path& folder) {
  std::string fingerprint;
  if (!fs::exists(folder / kCellFile)) return fingerprint;
  try {
    read_own_json(folder / kCellFile, [&](const nlohmann::ordered_json& cell) {
      fingerprint = cell.at("fingerprint");
    });
  } catch (const DataError&) {
  }
  return fingerprint;
}

// Opening it tells when there is no folder.
fs::path lock_file(const fs::path& folder) {
  std::error_code ignored;
  fs::create_directories(folder, ignored);
  return folder / kLockFile;
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

CellLock::CellLock(FileLock lock, const fs::path& folder) : FileLock(std::move(lock)) {
  if (state() != State::kUnsupported) return;
  throw Error(fmt::format("{}: this file system cannot lock files; choose another with --output",
                          (folder / kLockFile).string()));
}

CellLock::CellLock(const fs::path& folder)
    : CellLock(FileLock::exclusive(lock_file(folder)), folder) {}

CellLock wait_for_lock(const fs::path& folder) {
  return {FileLock::wait_exclusive(lock_file(folder)), folder};
}

}  // namespace quell
