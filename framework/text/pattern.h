// What is looked for in a text: a string or a regular expression.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "framework/text/stages.h"

namespace quell {

// How GPT-2 splits a text: contractions, words, numbers and other characters, each with the blank
// before it; white space (Radford et al. 2019).
extern const char* const kGpt2Words;

class Pattern {
 public:
  virtual ~Pattern() = default;
  // Appends the matches in order; they do not overlap. An empty one stands between characters.
  virtual void find(std::u32string_view text, std::vector<Span>& matches) const = 0;
};

class StringPattern final : public Pattern {
 public:
  explicit StringPattern(std::u32string text) : text_(std::move(text)) {}
  void find(std::u32string_view text, std::vector<Span>& matches) const override;

 private:
  std::u32string text_;
};

class RegexPattern final : public Pattern {
 public:
  // `pattern` is UTF-8 in the syntax of Oniguruma, which the Hugging Face library uses. Throws
  // DataError with the reason when it is not a regular expression.
  explicit RegexPattern(const std::string& pattern);
  ~RegexPattern() override;
  // Throws DataError when a text takes longer than a second, which harmless patterns never do.
  void find(std::u32string_view text, std::vector<Span>& matches) const override;

 private:
  struct Compiled;
  std::unique_ptr<Compiled> compiled_;
};

}  // namespace quell
