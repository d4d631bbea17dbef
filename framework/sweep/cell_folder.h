// The folder of a cell: a run folder, with what the sweep knows about the cell beside it.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "framework/base/file_lock.h"
#include "framework/sweep/cell.h"

namespace quell {

enum class CellState {
  kWaiting,  // not begun, or stopped on the way
  kDone,
  kFailed,
};

// Files of a cell's folder besides those of a run.
inline constexpr const char* kCellFile = "cell.json";     // settings and fingerprint
inline constexpr const char* kErrorFile = "error.txt";    // why it failed
inline constexpr const char* kOutputFile = "output.txt";  // what it says while it runs
inline constexpr const char* kLockFile = "lock";

// Whether the folder holds the result of the cell of that fingerprint.
CellState cell_state(const std::filesystem::path& folder, const std::string& fingerprint);

// The cells' folders in the output folder of a sweep.
class CellFolders {
 public:
  explicit CellFolders(std::filesystem::path output);
  // Where the cell's folder is or will be. A folder of the same fingerprint counts, whatever its
  // label: the label changes when keys are added to a sweep, the result does not.
  std::filesystem::path of(const Cell& cell);

 private:
  // All folders, read when a cell has none of its own name: tasks of a large sweep need few.
  const std::map<std::string, std::filesystem::path>& by_fingerprint();

  std::filesystem::path output_;
  std::optional<std::map<std::string, std::filesystem::path>> by_fingerprint_;
};

// The resolved experiment of the cell in that folder.
std::filesystem::path experiment_file(const std::filesystem::path& folder);

// Writes cell.json.
void write_cell_file(const std::filesystem::path& folder, const Cell& cell);

// Keeps other sweeps from the cell: held() is false when another one has it. A cell's process
// inherits the lock, and keeps it when the sweep is killed.
class CellLock : public FileLock {
 public:
  // Creates the folder. Throws Error where that is not possible, or where files cannot be locked.
  explicit CellLock(const std::filesystem::path& folder);

 private:
  CellLock(FileLock lock, const std::filesystem::path& folder);
  friend CellLock wait_for_lock(const std::filesystem::path& folder);
};

// The lock of any folder, once nobody else has it. That of a sweep's folder guards its index.
CellLock wait_for_lock(const std::filesystem::path& folder);

}  // namespace quell
