// Finding the file of a split in a folder of data.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace quell {

// `given` in the folder or in the working directory, or, where nothing is given, the first of
// `names` that the folder has. `split` is "train" or "dev". Throws ConfigError without folder and
// file, and DataError that lists the names looked for.
std::filesystem::path find_data_file(const std::filesystem::path& folder, const std::string& given,
                                     const std::string& split,
                                     const std::vector<std::string>& names);

}  // namespace quell
