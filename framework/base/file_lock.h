// Locks on files, so that processes keep out of each other's way.
#pragma once

#include <filesystem>

namespace quell {

// A lock of flock(2): it is held for as long as the object lives, and as long as a process lives
// that has inherited its descriptor; the system releases it when that process is killed.
class FileLock {
 public:
  enum class State {
    kHeld,
    kBusy,         // somebody else has a lock that does not go with this one
    kUnsupported,  // the file system cannot lock
  };

  // Nobody else may have one. Creates the file where it is missing, but no folder. Throws Error
  // where that is not possible.
  static FileLock exclusive(const std::filesystem::path& file);
  // The same, and waits for a lock that is busy.
  static FileLock wait_exclusive(const std::filesystem::path& file);
  // Others may read as well. kUnsupported, too, where the file cannot be opened.
  static FileLock shared(const std::filesystem::path& file);

  ~FileLock();
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&& other) noexcept;

  State state() const { return state_; }
  bool held() const { return state_ == State::kHeld; }
  int descriptor() const { return descriptor_; }  // -1 unless held

  // Removes the file, unless somebody else has it locked. Who waits for it makes a new one.
  void remove_file();

 private:
  FileLock(std::filesystem::path file, int descriptor, int operation);

  std::filesystem::path file_;
  int descriptor_;
  State state_ = State::kHeld;
};

}  // namespace quell
