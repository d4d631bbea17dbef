// Submits a sweep as a job array of Slurm.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "framework/sweep/cell.h"
#include "framework/sweep/sweep.h"

namespace quell {

struct SlurmSubmission {
  std::string job;               // its number; empty when there was nothing to submit
  std::filesystem::path folder;  // of script, list of cells and output of the tasks
  std::string script;            // its text
  size_t tasks = 0;
  size_t cells = 0;   // that were submitted
  size_t queued = 0;  // that had been submitted before and are still to run
  std::vector<CellStatus> status;
};

// Writes what the tasks need into the folder of the sweep (index, experiments, cell files), and a
// folder slurm/NUMBER with the script and its list of cells; then submits the cells that are
// neither done nor queued already, nor failed unless options.retry. With `dry_run` nothing is
// written and nothing submitted. Throws ConfigError or Error with what Slurm says.
SlurmSubmission submit_sweep(const SweepFile& sweep, const std::vector<Cell>& cells,
                             const SweepOptions& options, bool dry_run);

}  // namespace quell
