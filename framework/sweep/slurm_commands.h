// Slurm's own commands, found in PATH.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace quell {

// Whether there is an sbatch.
bool has_slurm();

// Each of them throws ConfigError when the command is not found, and Error with what it says when
// it fails.

// The cluster's limit of indices of job arrays.
int64_t slurm_max_array_size();

// A task of an array that Slurm has yet to start, or has started.
struct QueuedTask {
  std::filesystem::path script;
  int64_t index = 0;
};
// All tasks of this user that wait or run. Those that just end do not count.
std::vector<QueuedTask> slurm_queued_tasks();

// Submits a script; the number of the job.
std::string slurm_submit(const std::filesystem::path& script);

}  // namespace quell
