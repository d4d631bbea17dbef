// outliers.h5, layout version 1: see docs/hdf5.md.
#pragma once

#include <filesystem>

#include "framework/record/run_record.h"

namespace quell {

inline constexpr int64_t kOutliersVersion = 1;
inline constexpr const char* kOutliersFormat = "quell outliers";

// Writes what the runner's OutlierRecorder saw, and what the float network's segments hand on,
// where that was looked at. Equal runs write equal bytes.
void write_outliers_file(const std::filesystem::path& path, const RunRecord& run);

}  // namespace quell
