// The decoders of the Hugging Face library: from tokens to text.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "framework/text/pattern.h"
#include "framework/text/stages.h"

namespace quell {

class DecoderSequence final : public Decoder {
 public:
  explicit DecoderSequence(std::vector<std::unique_ptr<Decoder>> steps)
      : steps_(std::move(steps)) {}
  std::vector<std::string> decode(std::vector<std::string> tokens) const override;

 private:
  std::vector<std::unique_ptr<Decoder>> steps_;
};

// Puts `content` in the place of every match, token by token.
class ReplaceDecoder final : public Decoder {
 public:
  ReplaceDecoder(std::unique_ptr<Pattern> pattern, std::u32string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  std::vector<std::string> decode(std::vector<std::string> tokens) const override;

 private:
  std::unique_ptr<Pattern> pattern_;
  std::u32string content_;
};

// Joins tokens such as <0xE2> to the characters that their bytes spell; bytes that are no UTF-8
// become one U+FFFD each.
class ByteFallbackDecoder final : public Decoder {
 public:
  std::vector<std::string> decode(std::vector<std::string> tokens) const override;
};

// One token of all.
class FuseDecoder final : public Decoder {
 public:
  std::vector<std::string> decode(std::vector<std::string> tokens) const override;
};

// Takes up to so many of a character off the ends of every token.
class StripDecoder final : public Decoder {
 public:
  StripDecoder(char32_t character, int64_t start, int64_t stop)
      : character_(character), start_(start), stop_(stop) {}
  std::vector<std::string> decode(std::vector<std::string> tokens) const override;

 private:
  char32_t character_;
  int64_t start_, stop_;
};

// The visible character of SentencePiece becomes a blank, but not where it was put before the text.
class MetaspaceDecoder final : public Decoder {
 public:
  MetaspaceDecoder(char32_t replacement, bool prepended)
      : replacement_(replacement), prepended_(prepended) {}
  std::vector<std::string> decode(std::vector<std::string> tokens) const override;

 private:
  char32_t replacement_;
  bool prepended_;
};

}  // namespace quell
