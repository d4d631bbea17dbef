// WordPiece: a word is cut, from its left end, into the longest pieces of the vocabulary.
// Schuster and Nakajima 2012; as used by BERT.
#pragma once

#include <memory>
#include <string>

#include "framework/text/code_point_trie.h"
#include "framework/text/stages.h"
#include "framework/text/vocabulary.h"

namespace quell {

struct WordPieceOptions {
  std::string unknown_token = "[UNK]";
  std::string continuation_prefix = "##";  // of pieces inside a word
  int64_t max_word_length = 100;           // in code points; longer words are unknown
};

class WordPiece final : public SubwordModel {
 public:
  // The unknown token must be in the vocabulary.
  WordPiece(const Vocabulary& vocabulary, const WordPieceOptions& options);
  void tokenize(std::u32string_view word, std::vector<Piece>& pieces) const override;

 private:
  CodePointTrie heads_, continuations_;  // every token may start a word; the rest of it
  int32_t unknown_id_;
  size_t max_word_length_;
};

// Takes out the blanks before punctuation and in contractions ("it ' s"), as
// `clean_up_tokenization` of transformers does.
void clean_up_spaces(std::string& text);

class WordPieceDecoder final : public Decoder {
 public:
  // `cleanup` takes out the blanks that tokenization put before punctuation and contractions.
  WordPieceDecoder(std::string continuation_prefix, bool cleanup)
      : prefix_(std::move(continuation_prefix)), cleanup_(cleanup) {}
  std::vector<std::string> decode(std::vector<std::string> tokens) const override;

 private:
  std::string prefix_;
  bool cleanup_;
};

}  // namespace quell
