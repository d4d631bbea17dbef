// Byte-pair encoding: a word is spelled in bytes (GPT-2, RoBERTa, BART, OPT, BLOOM, LLaMA 3) or in
// characters (LLaMA), and neighbouring pieces are merged in the order in which the merges were
// learned. Sennrich et al. 2016.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "framework/text/stages.h"
#include "framework/text/vocabulary.h"

namespace quell {

struct BytePairOptions {
  bool byte_level = true;      // words are spelled in the visible characters of bytes
  bool ignore_merges = false;  // a word that is a token is not put together from pieces
  // Of characters that the vocabulary lacks: their bytes as tokens such as <0xE2>, if it has all;
  // else this token, one for neighbours if `fuse_unknown`; else nothing.
  bool byte_fallback = false;
  std::optional<int32_t> unknown_id;
  bool fuse_unknown = false;
};

class BytePairEncoding final : public SubwordModel {
 public:
  // Two tokens that make a longer one; both and the longer one are in the vocabulary.
  struct Merge {
    int32_t left = 0, right = 0, merged = 0;
  };

  // `merges` in the order of learning.
  BytePairEncoding(Vocabulary vocabulary, const std::vector<Merge>& merges,
                   const BytePairOptions& options);
  void tokenize(std::u32string_view word, std::vector<Piece>& pieces) const override;

 private:
  struct Rule {
    int32_t rank, merged;
  };
  struct Symbol;
  class Spelling;
  class Merging;

  const Rule* rule_for(int32_t left, int32_t right) const;
  bool add_whole(std::u32string_view word, std::vector<Piece>& pieces) const;

  Vocabulary vocabulary_;
  BytePairOptions options_;
  // Of a byte's visible character, and of its token <0x..>; -1: not in the vocabulary.
  std::array<int32_t, 256> byte_ids_, fallback_ids_;
  std::unordered_map<uint64_t, Rule> rules_;  // by both ids
};

}  // namespace quell
