// Where sentences end.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace quell {

// Finds sentences by the rules of Unicode (UAX 29) with the English abbreviations of CLDR after
// which a sentence goes on. One object serves one thread.
class SentenceSplitter {
 public:
  SentenceSplitter();
  ~SentenceSplitter();
  SentenceSplitter(const SentenceSplitter&) = delete;
  SentenceSplitter& operator=(const SentenceSplitter&) = delete;

  // The sentences of a text in UTF-8, one a line, without the blanks around them. Lines that are
  // there already stay apart.
  std::string lines(std::string_view text);

 private:
  struct Rules;
  std::unique_ptr<Rules> rules_;
};

}  // namespace quell
