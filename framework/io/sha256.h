// SHA-256 fingerprints of files and texts, as 64 lower-case hexadecimal digits.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace quell {

// Throws DataError naming the file when it is missing or unreadable.
std::string sha256_of_file(const std::filesystem::path& path);
std::string sha256_of_text(std::string_view text);

}  // namespace quell
