// The stages that a tokenizer is put together from: a text is split at added tokens, normalized,
// split into words, and each word into pieces of the vocabulary.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace quell {

// Text that remembers where it comes from: text[i] was made from code point source[i] of the
// original.
struct AlignedText {
  std::u32string text;
  std::vector<int32_t> source;
};

// Half-open range of positions.
struct Span {
  int32_t begin = 0;
  int32_t end = 0;
  bool operator==(const Span&) const = default;
};

// White space at the ends of a token, in characters.
struct Blanks {
  int32_t leading = 0, trailing = 0;
};

// A token and the positions that it covers: of the word when a model returns it, of the original
// text in an encoding.
struct Piece {
  int32_t id = 0;
  Span span;
  Blanks blanks = {};  // where offsets are trimmed
};

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void normalize(AlignedText& text) const = 0;
};

// A text and the words that it has been split into so far, in order and not empty.
struct Words {
  AlignedText text;
  std::vector<Span> spans;
  bool begins_input = false;  // the text is the beginning of what the user gave
};

// One step of splitting; it may change the text, too.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual void split(Words& words) const = 0;
};

class SubwordModel {
 public:
  virtual ~SubwordModel() = default;
  // Appends the pieces of one word.
  virtual void tokenize(std::u32string_view word, std::vector<Piece>& pieces) const = 0;
};

// One step of turning tokens into text: the texts of all steps' results are joined.
class Decoder {
 public:
  virtual ~Decoder() = default;
  virtual std::vector<std::string> decode(std::vector<std::string> tokens) const = 0;
};

}  // namespace quell
