// The one place that knows what valid UTF-8 is (Unicode 3.9: no overlong forms, no surrogates,
// nothing above U+10FFFF).
#pragma once

#include <cstddef>
#include <string_view>

namespace quell {

// Position of the first byte that does not belong to valid UTF-8, or npos.
size_t find_invalid_utf8(std::string_view text);

}  // namespace quell
