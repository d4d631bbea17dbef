// The cells of a sweep: experiments, checked and fingerprinted before anything runs.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "framework/base/log.h"
#include "framework/run/experiment.h"
#include "framework/sweep/sweep_file.h"

namespace quell {

struct Cell {
  Settings settings;  // of the axes
  std::string label;  // for people, from the settings
  ExperimentSpec spec;
  std::string config;       // the resolved experiment as YAML
  std::string fingerprint;  // 64 hexadecimal digits, see fingerprint_cells()
  // Name of the cell's folder: label and the first digits of the fingerprint.
  std::string folder_name() const;
};

// Reads the experiment of every cell. All problems are thrown together as one ConfigError: with the
// line of the sweep file or of the experiment, and the cell where not all are concerned. Two cells
// of equal experiments are an error, too.
std::vector<Cell> load_cells(const SweepFile& sweep, const Plugins& plugins);

// Loads every model and task once, checks the rules of every cell against the model, and sets the
// fingerprints: SHA-256 over the resolved experiment, the model's files, all data files that the
// task or the experiment names, and code_version(). Equal fingerprints mean equal results (of
// training: on equally many threads). Throws ConfigError or DataError.
void fingerprint_cells(std::vector<Cell>& cells, const Plugins& plugins, Log& log);

}  // namespace quell
