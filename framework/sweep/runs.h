// Finished runs as a report reads them.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "framework/config/node.h"

namespace quell {

using Texts = std::vector<std::pair<std::string, std::string>>;

// A tree as `path -> value` in its order: `quant.rules[0].bits` -> `6`. Lists of plain values are
// one entry.
Texts flatten(const ConfigNode& node);

struct Run {
  std::filesystem::path folder;
  bool complete = false;  // a cell of a sweep that is not done has settings only
  Texts settings;         // what the sweep set; empty for other runs
  Texts config;           // the resolved experiment, flat
  // Stage -> metrics in their order; NaN where a metric is not defined.
  std::vector<std::pair<std::string, std::vector<std::pair<std::string, double>>>> stages;

  // The value of a key: of the settings, else of the experiment, where the beginning of the key may
  // be left out if that is unambiguous. `folder` is the run's folder. Empty when there is none.
  std::optional<std::string> value(const std::string& key) const;
};

// Reads a folder with metrics.json. Throws DataError.
Run read_run(const std::filesystem::path& folder);

struct RunList {
  std::vector<Run> runs;
  std::vector<std::vector<std::string>> axes;  // of the sweeps among them
};

// The runs in folders and below them: all cells of a sweep's folder as its index has them, and any
// folder with metrics.json, sorted by name. Throws DataError when a folder holds no run.
RunList find_runs(const std::vector<std::string>& folders);

}  // namespace quell
