// Which token each row of an activation belongs to, over the whole calibration set.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "framework/model/batch.h"
#include "framework/text/tokenizer.h"

namespace quell {

enum class TokenKind : uint8_t {
  kFirst,        // a special token at the start of a sequence: [CLS], <s>
  kSeparator,    // a special token elsewhere: [SEP], </s>
  kPadding,      // kept padding
  kPunctuation,  // nothing but punctuation
  kOther,
};
inline constexpr int kTokenKinds = 5;
// "cls", "sep", "pad", "punctuation", "other".
const char* to_string(TokenKind kind);

// One side of the calibration set: its tokens in the order in which activations have rows.
struct TokenColumns {
  std::vector<int64_t> offsets = {0};  // [sequences + 1]
  std::vector<int64_t> ids, positions;
  std::vector<TokenKind> kinds;

  int64_t size() const { return static_cast<int64_t>(ids.size()); }
  // Of a token.
  int64_t sequence(int64_t token) const;
};

// A token of the vocabulary that occurs.
struct VocabularyEntry {
  int64_t id = 0;
  int64_t count = 0;  // occurrences that are not padding
  int64_t rank = 0;   // by count, from 1; the smaller id first where counts are equal
  std::string text;   // UTF-8; empty without a tokenizer
};

struct CalibrationTokens {
  TokenColumns tokens;
  TokenColumns targets;                     // of decoders that write text; else empty
  std::vector<int64_t> examples, batches;   // [sequences]
  std::vector<VocabularyEntry> vocabulary;  // of both sides, by id

  // The entry of an id that occurs.
  const VocabularyEntry& entry(int64_t id) const;
};

// Without a tokenizer texts are empty and no token is special or punctuation.
CalibrationTokens calibration_tokens(std::span<const Batch> batches, const Tokenizer* tokenizer);

}  // namespace quell
