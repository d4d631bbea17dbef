// results.h5, layout version 2: see docs/hdf5.md.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "framework/record/run_record.h"

namespace quell {

inline constexpr int64_t kResultsVersion = 2;
inline constexpr const char* kResultsFormat = "quell results";

// Writes what a run found. Equal runs write equal bytes.
void write_results_file(const std::filesystem::path& path, const RunRecord& run);

class Hdf5Reader;

// What a file says about the quantizer of a site.
struct StoredParameters {
  std::vector<float> scale;
  std::vector<float> zero_point;
  std::optional<bool> signed_levels;   // of a symmetric Qualcomm grid
  std::vector<int64_t> group_of = {};  // by feature: see FeatureGroups; empty: there is none
  std::string quantizer = {};          // the plug-in whose state it is; empty: not known
  NamedTensors state = {};             // of the quantizer, beyond its parameters
};

// Throws DataError when the file is no results file or of a later version.
void check_results_file(const Hdf5Reader& file);

// By site key, those that have scales. Throws DataError.
std::map<std::string, StoredParameters> read_results_parameters(const std::filesystem::path& path);

}  // namespace quell
