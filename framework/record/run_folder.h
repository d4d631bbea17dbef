// The folder of a run: what is in it reproduces the run.
#pragma once

#include <filesystem>
#include <optional>

#include "framework/base/file_lock.h"
#include "framework/base/log.h"
#include "framework/record/run_record.h"

namespace quell {

// What to do about an earlier run in the folder.
enum class EarlierRun {
  kRefuse,     // it is an error, whether it is complete or was stopped
  kOverwrite,  // replace it once this one is complete; start anew what was stopped
  kResume,     // go on with what was stopped; start where there is none
};

// Keeps other runs out of `folder`, which is created, for as long as it lives; its file is removed
// at the end. Where the file system cannot lock, a warning is all there is. Throws ConfigError
// when another run has the folder, Error when it cannot be created.
class RunFolderLock {
 public:
  RunFolderLock(const std::filesystem::path& folder, Log& log);
  ~RunFolderLock() { lock_->remove_file(); }
  RunFolderLock(const RunFolderLock&) = delete;
  RunFolderLock& operator=(const RunFolderLock&) = delete;

 private:
  std::optional<FileLock> lock_;
};

// Makes sure that a run may write to `folder`, whose lock it has. `config`: the experiment with
// every default written out. False when there is nothing to
// do, because the run to be resumed is complete. Throws ConfigError or Error.
bool prepare_run_folder(const std::filesystem::path& folder, const std::string& config,
                        EarlierRun earlier);

// Where long steps keep their progress until the run is complete; exists only then.
std::filesystem::path progress_folder(const std::filesystem::path& folder);

// Writes config.resolved.yaml, results.h5, predictions.jsonl, environment.json, log.txt,
// outliers.h5 where outliers were recorded and the folder `model` of a model that was trained, then
// metrics.json: where it exists, the run is complete. Every file is complete or absent; an earlier
// run is replaced only now, when this one has succeeded. Times and facts of the host are in
// environment.json and log.txt only.
void write_run_folder(const std::filesystem::path& folder, const RunRecord& run, const Log& log);

}  // namespace quell
