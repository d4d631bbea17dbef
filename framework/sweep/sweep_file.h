// A sweep file: one experiment with many settings. See docs/sweeps.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "framework/config/node.h"
#include "framework/config/problems.h"
#include "framework/sweep/slurm_options.h"

namespace quell {

// A key of `--set` with its value. The key `base` chooses the experiment file.
struct Setting {
  std::string key;
  ConfigNode value;

  // The value as text: `6`, `cola`, `{"type":"lsq"}`.
  std::string text() const;
};
using Settings = std::vector<Setting>;

// The setting of that key, or null.
const Setting* find_setting(const Settings& settings, const std::string& key);

// Keys that change together, and what they are at each point.
struct Axis {
  std::vector<std::string> keys;  // all keys of all points, in the order of the file
  std::vector<Settings> points;
};

struct SweepFile {
  std::filesystem::path path;
  std::string name;              // default: the stem of the file
  std::filesystem::path output;  // default: runs/NAME
  int64_t workers = 1;           // processes at a time
  SlurmOptions slurm;            // of `--slurm`
  Settings fixed;                // `base` and `set`: the same in every cell
  std::vector<Axis> axes;        // of `list`, `zip`, `grid`; the first one changes slowest
  std::vector<Settings> exclude;
};

// Reads a sweep file. What is wrong with it is thrown together as one ConfigError.
SweepFile load_sweep_file(const std::filesystem::path& path);

// Adds `key=value` of the command line to what is the same in every cell, in place of the file's
// own value. Throws ConfigError when the key is swept.
void add_fixed(SweepFile& sweep, const std::string& option);

// The settings of every cell, of the axes only: their product without what is excluded. Excludes
// that match no cell, and a sweep without cells, are added to `problems`.
std::vector<Settings> expand(const SweepFile& sweep, Problems& problems);

// The part of a key that people know it by: `bits` of `rules[0].bits`.
std::string short_key(const std::string& key);
// A value for tables and file names: `twc` for `outlier_suppression/twc.yaml`.
std::string short_value(const std::string& text);
// A name for a cell that can be a file name: `twc_bits=8_seed=1`. Keys that say the same are named
// once.
std::string cell_label(const Settings& settings);

}  // namespace quell
