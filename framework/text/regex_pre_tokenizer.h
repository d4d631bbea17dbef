// Words by a regular expression.
#pragma once

#include <memory>
#include <string>

#include "framework/text/stages.h"

namespace quell {

// How GPT-2 splits a text: contractions, words, numbers and other characters, each with the blank
// before it; white space (Radford et al. 2019).
extern const char* const kGpt2Words;

// Every match is a word, and so is every text between matches.
class RegexPreTokenizer final : public PreTokenizer {
 public:
  // `pattern` is UTF-8 in the syntax of ICU; \s and \S mean the property White_Space, as in the
  // Hugging Face library. Throws DataError with the reason when it is not a regular expression.
  explicit RegexPreTokenizer(const std::string& pattern);
  ~RegexPreTokenizer() override;
  void split(std::u32string_view text, std::vector<Span>& words) const override;

 private:
  struct Compiled;
  std::unique_ptr<Compiled> compiled_;
};

}  // namespace quell
