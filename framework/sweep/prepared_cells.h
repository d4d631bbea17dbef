// Cells of a sweep that a scheduler runs: they were written by `quell sweep --slurm`, perhaps days
// ago and on another machine.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "framework/sweep/cell.h"

namespace quell {

// Reads cells by the names of their folders in `output`. Cells that are not done are fingerprinted
// anew. Throws ConfigError for what is no cell, DataError when model, data or quell are not what
// they were when the cells were written.
std::vector<Cell> load_prepared_cells(const std::filesystem::path& output,
                                      const std::vector<std::string>& names,
                                      const Plugins& plugins);

}  // namespace quell
