// The one place that knows what valid UTF-8 is (Unicode 3.9: no overlong forms, no surrogates,
// nothing above U+10FFFF).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace quell {

// Position of the first byte that does not belong to valid UTF-8, or npos.
size_t find_invalid_utf8(std::string_view text);

// What a message shows of a name from a foreign file, which may be long or no text at all: as much
// of its beginning as is valid UTF-8, at most 200 bytes.
std::string shown(std::string_view name);

}  // namespace quell
