// Where the files of the summarization task are.
#pragma once

#include <filesystem>
#include <string>

namespace quell {

// The file of a split ("train" or "dev"): `given`, in the folder or elsewhere, else the first of
// train.*, or of validation.*, val.* and dev.*, in the folder with the ending .jsonl, .json or
// .csv. Throws DataError or ConfigError saying what was looked for.
std::filesystem::path find_summary_file(const std::filesystem::path& folder,
                                        const std::string& given, const std::string& split);

}  // namespace quell
