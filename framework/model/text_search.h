// Which text to write, given scores of the next token: greedy and beam search, for one sequence.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "framework/model/generation.h"

namespace quell {

// What is being written, and how likely it is.
struct Hypothesis {
  std::vector<int64_t> ids;
  float score = 0;     // sum of log-probabilities
  int64_t parent = 0;  // index of the hypothesis that it continues among those before
};

class TextSearch {
 public:
  explicit TextSearch(const GenerationOptions& options);
  virtual ~TextSearch() = default;

  // All equally long; at first the decoder's start token alone. Empty when the search is over.
  const std::vector<Hypothesis>& running() const { return running_; }
  // Goes one token further. `scores` are rows of `vocabulary` values, one for each that runs; what
  // options forbid is written into them as -inf.
  void advance(std::span<float*> scores, int64_t vocabulary);
  // `num_return_sequences`, the best first; where fewer were finished, the last one again.
  virtual std::vector<GeneratedSequence> results() const = 0;

 protected:
  virtual void choose(std::span<float*> scores, int64_t vocabulary) = 0;
  bool ends(int64_t token, int64_t length) const {
    return token == options_.eos_token_id || length >= options_.max_length;
  }

  const GenerationOptions options_;
  std::vector<Hypothesis> running_;

 private:
  void forbid(const std::vector<int64_t>& ids, float* scores, int64_t vocabulary) const;
};

// Greedy search for one beam (scores may be logits), else beam search (scores are
// log-probabilities). Both choose the tokens that Hugging Face transformers 5 chooses; of equal
// scores the one with the smaller token id, or of the earlier hypothesis.
std::unique_ptr<TextSearch> make_search(const GenerationOptions& options);

}  // namespace quell
