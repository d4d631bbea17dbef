// Tables of tab-separated and of comma-separated values.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace quell {

// `line` is the 1-based line in the file; `fields` live until the call returns.
using TsvRow = std::function<void(int64_t line, std::span<const std::string_view> fields)>;

// Calls `row` for every line that is not blank. Fields are separated by tabs and never quoted: a
// quotation mark is an ordinary character. A UTF-8 byte order mark and the carriage return of
// Windows line ends are removed. `encoding` and errors as in read_text().
void read_tsv(const std::filesystem::path& path, const TsvRow& row,
              const std::string& encoding = "");

// `line` is the 1-based line where the row begins.
using CsvRow = std::function<void(int64_t line, std::span<const std::string> fields)>;

// Calls `row` for every row that is not blank, as RFC 4180 says: fields may be quoted and then hold
// commas, line ends and doubled quotation marks. A quotation mark inside of an unquoted field is an
// ordinary character. Byte order mark and encoding as in read_tsv(). Throws DataError, naming the
// line, when a quoted field never ends or goes on after its closing quotation mark.
void read_csv(const std::filesystem::path& path, const CsvRow& row,
              const std::string& encoding = "");

// Whether the file holds JSON lines: by its ending (.jsonl, .json), else by its first character.
bool is_jsonl(const std::filesystem::path& path);

}  // namespace quell
