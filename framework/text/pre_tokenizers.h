// The pre-tokenizers of the Hugging Face library: how a text is split into words.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "framework/text/pattern.h"
#include "framework/text/stages.h"

namespace quell {

// What becomes of the parts of a text that a split finds.
enum class SplitBehavior {
  kRemoved,   // they are left out
  kIsolated,  // words of their own
  kMergedWithPrevious,
  kMergedWithNext,
  kContiguous,  // neighbours make one word
};

// Splits every word where `pattern` matches, or (inverted) where it does not.
class PatternSplit final : public PreTokenizer {
 public:
  PatternSplit(std::unique_ptr<Pattern> pattern, SplitBehavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}
  void split(Words& words) const override;

 private:
  std::unique_ptr<Pattern> pattern_;
  SplitBehavior behavior_;
  bool invert_;
};

// Splits every word at the characters of a kind.
class CharacterSplit final : public PreTokenizer {
 public:
  using Predicate = bool (*)(char32_t);
  CharacterSplit(Predicate predicate, SplitBehavior behavior)
      : predicate_(predicate), behavior_(behavior) {}
  void split(Words& words) const override;

 private:
  Predicate predicate_;
  SplitBehavior behavior_;
};

// Splits every word where the script changes (unicode::script()); characters of none belong to what
// stands before them, and are left out where nothing does.
class ScriptSplit final : public PreTokenizer {
 public:
  void split(Words& words) const override;
};

// Splits every word into pieces of so many characters; the last one may be shorter.
class FixedLengthSplit final : public PreTokenizer {
 public:
  explicit FixedLengthSplit(int32_t length) : length_(length) {}
  void split(Words& words) const override;

 private:
  int32_t length_;
};

// Gives every word that does not begin with a blank one.
class PrefixSpace final : public PreTokenizer {
 public:
  void split(Words& words) const override;
};

// SentencePiece's: blanks become a visible character, with which words begin.
class Metaspace final : public PreTokenizer {
 public:
  enum class Prepend { kAlways, kFirst, kNever };
  Metaspace(char32_t replacement, Prepend prepend, bool splits)
      : replacement_(replacement), prepend_(prepend), splits_(splits) {}
  void split(Words& words) const override;

 private:
  char32_t replacement_;
  Prepend prepend_;  // to every word that lacks it; to the first of the input; to none
  bool splits_;
};

class PreTokenizerSequence final : public PreTokenizer {
 public:
  explicit PreTokenizerSequence(std::vector<std::unique_ptr<PreTokenizer>> steps)
      : steps_(std::move(steps)) {}
  void split(Words& words) const override;

 private:
  std::vector<std::unique_ptr<PreTokenizer>> steps_;
};

// BERT's: words end at white space; every punctuation character is a word of its own.
std::unique_ptr<PreTokenizer> make_bert_pre_tokenizer();
// Words of letters, digits and underscores; of neighbouring other characters; no white space.
std::unique_ptr<PreTokenizer> make_word_pre_tokenizer();
// GPT-2's, which may first give texts a blank.
std::unique_ptr<PreTokenizer> make_gpt2_pre_tokenizer(bool prefix_space);

}  // namespace quell
