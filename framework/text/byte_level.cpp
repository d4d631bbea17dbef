#include "framework/text/byte_level.h"

#include <algorithm>
#include <array>
#include <vector>

#include "framework/text/unicode.h"

namespace quell {
namespace {

bool stands_for_itself(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

std::array<char32_t, 256> make_characters() {
  std::array<char32_t, 256> characters;
  char32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    characters[static_cast<size_t>(byte)] =
        stands_for_itself(byte) ? static_cast<char32_t>(byte) : next++;
  }
  return characters;
}

const std::array<char32_t, 256> kCharacters = make_characters();

// By character, -1 where none.
std::vector<int16_t> make_bytes() {
  const char32_t largest = *std::max_element(kCharacters.begin(), kCharacters.end());
  std::vector<int16_t> bytes(largest + 1, -1);
  for (size_t byte = 0; byte < kCharacters.size(); ++byte) {
    bytes[kCharacters[byte]] = static_cast<int16_t>(byte);
  }
  return bytes;
}

const std::vector<int16_t> kBytes = make_bytes();

bool is_blank(char32_t c) { return c == character_of_byte(' ') || unicode::is_whitespace(c); }

// False, and nothing appended, when a character stands for no byte.
bool append_bytes(std::string_view token, std::string& bytes) {
  const size_t before = bytes.size();
  for (const char32_t c : unicode::decode_utf8(token)) {
    const auto byte = byte_of_character(c);
    if (!byte) {
      bytes.resize(before);
      return false;
    }
    bytes.push_back(static_cast<char>(*byte));
  }
  return true;
}

}  // namespace

char32_t character_of_byte(uint8_t byte) { return kCharacters[byte]; }

std::optional<uint8_t> byte_of_character(char32_t character) {
  if (character >= kBytes.size() || kBytes[character] < 0) return std::nullopt;
  return static_cast<uint8_t>(kBytes[character]);
}

Blanks blanks_of(std::u32string_view token) {
  const auto leading = std::find_if_not(token.begin(), token.end(), is_blank) - token.begin();
  const auto trailing = std::find_if_not(token.rbegin(), token.rend(), is_blank) - token.rbegin();
  return {static_cast<int32_t>(leading), static_cast<int32_t>(trailing)};
}

std::vector<std::string> ByteLevelDecoder::decode(std::vector<std::string> tokens) const {
  std::string bytes;
  for (const std::string& token : tokens) {
    if (!append_bytes(token, bytes)) bytes += token;
  }
  return {unicode::encode_utf8(unicode::decode_utf8(bytes))};
}

}  // namespace quell
