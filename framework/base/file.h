// Reading whole files, and writing them so that a kill leaves either the old file or the new one.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace quell {

// The whole file as bytes. Throws DataError naming the file when it is missing or unreadable.
std::string read_file(const std::filesystem::path& path);

// Calls `write` with a temporary path beside `path`, flushes the file to disk and renames it.
// Whatever fails, the temporary file is removed, `path` is untouched and the error names `path`.
void write_atomically(const std::filesystem::path& path,
                      const std::function<void(const std::filesystem::path& temporary)>& write);

// Writes `content` atomically. Throws Error when the folder is not writable or the disk is full.
void write_file(const std::filesystem::path& path, std::string_view content);

}  // namespace quell
