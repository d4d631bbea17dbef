// Which text to write, given scores of the next token: greedy and beam search, for one sequence.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "framework/model/generation.h"
#include "framework/model/score_rules.h"

namespace quell {

// What is being written, and how likely it is.
struct Hypothesis {
  std::vector<int64_t> ids;
  float score = 0;     // sum of log-probabilities
  int64_t parent = 0;  // index of the hypothesis that it continues among those before
};

class TextSearch {
 public:
  TextSearch(const GenerationOptions& options, const std::vector<int64_t>& source,
             std::vector<int64_t> prompt);
  virtual ~TextSearch() = default;

  // All equally long; at first the prompt alone. Empty when the search is over.
  const std::vector<Hypothesis>& running() const { return running_; }
  // Goes one token further. `scores` are rows of `vocabulary` values, one for each that runs;
  // ScoreRules rewrite them.
  void advance(std::span<float*> scores, int64_t vocabulary);
  // `num_return_sequences`, the best first; where fewer were finished, the rest did not end: they
  // are filled with padding up to the longest.
  virtual std::vector<GeneratedSequence> results() const = 0;

 protected:
  virtual void choose(std::span<float*> scores, int64_t vocabulary) = 0;
  bool ends(int64_t token, int64_t length) const;

  const GenerationOptions options_;
  const int64_t prompt_length_;
  std::vector<Hypothesis> running_;

 private:
  const ScoreRules rules_;
};

// Greedy search for one beam (scores may be logits), else beam search (scores are
// log-probabilities). Both choose the tokens that Hugging Face transformers 5 chooses for a text
// that is alone in its batch: of equal scores greedy search the one with the smallest token id,
// beam search the one that at::topk puts first. `source` are the ids that the encoder reads, or a
// decoder alone; `prompt` those that texts go on from, which lengths include: for an
// encoder-decoder its start token.
std::unique_ptr<TextSearch> make_search(const GenerationOptions& options,
                                        const std::vector<int64_t>& source,
                                        std::vector<int64_t> prompt);
inline std::unique_ptr<TextSearch> make_search(const GenerationOptions& options,
                                               const std::vector<int64_t>& source = {}) {
  return make_search(options, source, {options.decoder_start_token_id});
}

}  // namespace quell
