// The list of a folder's files with their hashes: whether it is whole, and as it was written.
#pragma once

#include <filesystem>

namespace quell {

inline constexpr const char* kManifest = "quell.json";

// Of a network that was quantized: all files of the folder but the manifest.
void write_manifest(const std::filesystem::path& folder);

// Throws DataError naming what is missing, changed, or of another program.
void check_manifest(const std::filesystem::path& folder);

}  // namespace quell
