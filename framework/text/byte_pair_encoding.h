// Byte-pair encoding on bytes: a word is spelled in bytes, and neighbouring pieces are merged in
// the order in which the merges were learned. Sennrich et al. 2016; as used by GPT-2, RoBERTa, BART
// and OPT.
#pragma once

#include <array>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "framework/text/stages.h"
#include "framework/text/vocabulary.h"

namespace quell {

struct BytePairOptions {
  bool ignore_merges = false;  // a word that is a token is not put together from pieces
};

class BytePairEncoding final : public SubwordModel {
 public:
  // Two tokens that make a longer one; both and the longer one are in the vocabulary.
  struct Merge {
    int32_t left = 0, right = 0, merged = 0;
  };

  // `merges` in the order of learning. Bytes that the vocabulary does not spell are left out of
  // words, as the Hugging Face library does.
  BytePairEncoding(Vocabulary vocabulary, const std::vector<Merge>& merges,
                   const BytePairOptions& options);
  void tokenize(std::u32string_view word, std::vector<Piece>& pieces) const override;

 private:
  struct Rule {
    int32_t rank, merged;
  };
  struct Symbol;
  class Merging;

  const Rule* rule_for(int32_t left, int32_t right) const;
  bool add_whole(std::u32string_view word, std::vector<Piece>& pieces) const;

  Vocabulary vocabulary_;
  BytePairOptions options_;
  std::array<int32_t, 256> byte_ids_;         // -1: not in the vocabulary
  std::unordered_map<uint64_t, Rule> rules_;  // by both ids
};

}  // namespace quell
