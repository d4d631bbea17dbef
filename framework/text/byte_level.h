// Byte-level text (GPT-2; Radford et al. 2019): every byte of UTF-8 is written as a visible
// character, so that a vocabulary of characters can spell any text.
#pragma once

#include <cstdint>
#include <optional>

#include "framework/text/stages.h"

namespace quell {

// Printable Latin-1 stands for itself, every other byte for a character from U+0100 on.
char32_t character_of_byte(uint8_t byte);
std::optional<uint8_t> byte_of_character(char32_t character);

// White space at the ends of a text, or of a token in visible characters.
Blanks blanks_of(std::u32string_view token);

// Joins tokens and reads their characters as bytes; a token with other characters (an added one)
// stands for itself. Bytes that are no UTF-8 become U+FFFD.
class ByteLevelDecoder final : public Decoder {
 public:
  std::vector<std::string> decode(std::vector<std::string> tokens) const override;
};

}  // namespace quell
