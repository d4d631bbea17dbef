// Tables of tab-separated values.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string_view>

namespace quell {

// `line` is the 1-based line in the file; `fields` live until the call returns.
using TsvRow = std::function<void(int64_t line, std::span<const std::string_view> fields)>;

// Calls `row` for every line that is not blank. Fields are separated by tabs and never quoted: a
// quotation mark is an ordinary character. A UTF-8 byte order mark and the carriage return of
// Windows line ends are removed. Throws DataError when the file is missing, unreadable or UTF-16.
void read_tsv(const std::filesystem::path& path, const TsvRow& row);

// Whether the file holds JSON lines: by its ending (.jsonl, .json), else by its first character.
bool is_jsonl(const std::filesystem::path& path);

}  // namespace quell
