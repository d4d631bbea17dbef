// sweep.json: what the output folder of a sweep holds.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "framework/sweep/sweep.h"

namespace quell {

inline constexpr const char* kSweepIndex = "sweep.json";

// Writes the index. It holds no times, so that equal sweeps write equal bytes.
void write_sweep_index(const std::filesystem::path& output, const SweepFile& sweep,
                       const std::vector<Cell>& cells, const std::vector<CellStatus>& status);

// Puts the states of some cells into the index, if it names them. Processes that do this at the
// same time wait for each other. Throws DataError.
void update_sweep_index(const std::filesystem::path& output, const std::vector<Cell>& cells,
                        const std::vector<CellStatus>& status);

// A cell as the index has it.
struct IndexedCell {
  std::filesystem::path folder;
  std::vector<std::pair<std::string, std::string>> settings;
  std::string fingerprint;
};

struct SweepIndex {
  std::string name;
  std::vector<std::vector<std::string>> axes;  // keys that change together
  std::vector<IndexedCell> cells;
};

// Throws DataError.
SweepIndex read_sweep_index(const std::filesystem::path& output);

}  // namespace quell
