// Runs the cells of a sweep, several processes at a time.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "framework/base/log.h"
#include "framework/sweep/cell.h"
#include "framework/sweep/cell_folder.h"

namespace quell {

struct SweepOptions {
  std::filesystem::path program;  // this program
  std::filesystem::path output;
  int64_t workers = 1;
  bool retry = false;             // also run what failed before
  bool cache = true;              // cells share results, in the folder `cache` of the output
  std::function<bool()> stopped;  // asked often: true ends the sweep and its processes
  bool part = false;              // the cells are some of a larger sweep, whose index stays
};

// A cell with its folder.
struct CellStatus {
  std::filesystem::path folder;
  CellState state = CellState::kWaiting;
  double seconds = 0;  // of this sweep; 0 where nothing was done
};

// What is in the output folder now, in the order of the cells.
std::vector<CellStatus> sweep_status(const std::vector<Cell>& cells,
                                     const std::filesystem::path& output);

// Runs what is not done, each cell as `quell run` of its resolved experiment with --resume, and
// leaves alone what another sweep is at until that has ended. Writes sweep.json, the index of the
// cells, at the beginning and after every cell. A cell that fails keeps its last words in
// error.txt. Throws Error when it cannot write or start processes.
std::vector<CellStatus> run_sweep(const SweepFile& sweep, const std::vector<Cell>& cells,
                                  const SweepOptions& options, Log& log);

}  // namespace quell
