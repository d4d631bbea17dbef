#include "framework/base/utf8.h"

namespace quell {

size_t find_invalid_utf8(std::string_view text) {
  const auto byte = [&](size_t i) -> unsigned { return static_cast<unsigned char>(text[i]); };
  for (size_t i = 0; i < text.size();) {
    const unsigned lead = byte(i);
    const size_t length = lead < 0x80                   ? 1
                          : lead >= 0xC2 && lead < 0xE0 ? 2
                          : lead < 0xE0                 ? 0
                          : lead < 0xF0                 ? 3
                          : lead < 0xF5                 ? 4
                                                        : 0;
    if (length == 0 || length > text.size() - i) return i;
    for (size_t k = 1; k < length; ++k) {
      if ((byte(i + k) & 0xC0) != 0x80) return i;
    }
    // Longer forms of shorter characters, surrogates, and beyond U+10FFFF.
    if (lead == 0xE0 && byte(i + 1) < 0xA0) return i;
    if (lead == 0xED && byte(i + 1) >= 0xA0) return i;
    if (lead == 0xF0 && byte(i + 1) < 0x90) return i;
    if (lead == 0xF4 && byte(i + 1) >= 0x90) return i;
    i += length;
  }
  return std::string_view::npos;
}

std::string shown(std::string_view name) {
  constexpr size_t kLongest = 200;
  const std::string_view start = name.substr(0, kLongest);
  return std::string(start.substr(0, find_invalid_utf8(start)));
}

}  // namespace quell
