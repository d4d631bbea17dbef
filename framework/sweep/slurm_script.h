// The batch script of a job array that runs cells of a sweep.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "framework/sweep/slurm_options.h"

namespace quell {

// Files of a submission's folder.
inline constexpr const char* kSlurmScript = "job.sh";
inline constexpr const char* kSlurmCells = "cells.txt";  // line N: the cells of task N

struct SlurmJob {
  std::string name;
  std::filesystem::path program;                // absolute, as all paths here
  std::filesystem::path working_folder;         // where relative paths of an experiment start
  std::filesystem::path output;                 // of the sweep
  std::filesystem::path folder;                 // of this submission
  std::vector<std::vector<std::string>> tasks;  // folder names of the cells
  bool retry = false;
  bool cache = true;
};

// Spreads the cells over the tasks of an array, neighbours together. `max_array_size` is that of
// the cluster: indices are below it, and ours begin with 1. Throws ConfigError when cells_per_task
// demands more tasks than that.
std::vector<std::vector<std::string>> slurm_tasks(const std::vector<std::string>& cells,
                                                  const SlurmOptions& options,
                                                  int64_t max_array_size);

// The script, and the list of cells that it reads. Throws ConfigError when a path or a setting
// holds a line break or another control character.
std::string slurm_script(const SlurmJob& job, const SlurmOptions& options);
std::string slurm_cell_list(const SlurmJob& job);

}  // namespace quell
