// What generation options do to the scores of the next token before a search chooses.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "framework/model/generation.h"

namespace quell {

// For the hypotheses of one source text. The rules, their order and their arithmetic (float32) are
// those of Hugging Face transformers 5 for a text that is alone in its batch.
class ScoreRules {
 public:
  // `source` are the ids that the encoder reads, or a decoder alone; texts go on from a prompt of
  // so many tokens.
  ScoreRules(const GenerationOptions& options, const std::vector<int64_t>& source,
             int64_t prompt_length);

  // Rewrites `scores` [vocabulary] of what follows `ids`; what is forbidden becomes -inf.
  void apply(const std::vector<int64_t>& ids, float* scores, int64_t vocabulary) const;

 private:
  void add_biases(const std::vector<int64_t>& ids, float* scores) const;
  void penalize_repetition(const std::vector<int64_t>& ids, float* scores) const;
  void forbid_repetition(const std::vector<int64_t>& ids, float* scores) const;
  void forbid_bad_words(const std::vector<int64_t>& ids, float* scores) const;
  void force_ends(int64_t length, float* scores, int64_t vocabulary) const;
  void reward_ends(int64_t length, float* scores) const;
  void suppress(int64_t length, float* scores, int64_t vocabulary) const;

  GenerationOptions options_;
  int64_t prompt_length_;
  std::vector<int64_t> source_tokens_;  // each once
  // What follows the first n - 1 tokens of each n-gram of the source.
  std::map<std::vector<int64_t>, std::vector<int64_t>> source_ngrams_;
};

}  // namespace quell
