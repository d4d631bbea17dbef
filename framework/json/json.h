// JSON files and JSON Lines with errors of the form `file:line:column: ...`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace quell {

struct JsonOptions {
  int64_t first_line = 1;   // line number of the text's first line, for messages
  int64_t max_depth = 100;  // nested arrays and objects; the outermost one counts one
};

// Parses one JSON value that fills the whole `text` (UTF-8). `source` names it in messages.
// Throws DataError for anything that is not JSON or not UTF-8, for repeated keys in one object
// and for nesting beyond the limit.
nlohmann::json parse_json(std::string_view text, const std::string& source,
                          const JsonOptions& options = {});

// The same with members in their order, for what is written out again.
nlohmann::ordered_json parse_ordered_json(std::string_view text, const std::string& source,
                                          const JsonOptions& options = {});

// The same as parse_json() for a whole file; a byte order mark is skipped.
nlohmann::json read_json_file(const std::filesystem::path& path);

// Calls `use` with the value of a file that quell has written, its members in their order. `use`
// takes what it needs with at() and get(): what is missing there, or of another type, is a
// DataError that calls the file damaged, as is anything that read_json_file() refuses.
void read_own_json(const std::filesystem::path& path,
                   const std::function<void(const nlohmann::ordered_json& root)>& use);

// Calls `use(value, line)` for every line that is not blank, lines counted from 1. Throws DataError
// as above; what `use` throws passes through.
void read_json_lines(const std::filesystem::path& path,
                     const std::function<void(const nlohmann::json& value, int64_t line)>& use);

// The shortest decimal digits that restore the very same float32 or float64: "0.1", "1e-07",
// "-0.0". JSON has no infinities and no NaN: they become `null`.
std::string format_json_number(float value);
std::string format_json_number(double value);

}  // namespace quell
