// Text files in UTF-8 or in an encoding that somebody names.
#pragma once

#include <filesystem>
#include <string>

namespace quell {

// The whole file as UTF-8 without a byte order mark. `encoding` is a name that ICU knows (latin-1,
// windows-1252, utf-16, gb18030, ...); empty means UTF-8. Nothing is dropped or replaced: throws
// DataError with file, line and column at bytes that the encoding does not have, and ConfigError
// for an unknown name.
std::string read_text(const std::filesystem::path& path, const std::string& encoding = "");

// Whether read_text() knows the name.
bool knows_encoding(const std::string& encoding);

}  // namespace quell
