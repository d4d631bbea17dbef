// Log-likelihoods of given tokens, by a language model.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "framework/model/batch.h"
#include "framework/task/task.h"

namespace quell {

// ids[first_target ..] are scored, each given all that stand before it; the last one is never read.
struct ScoredSequence {
  std::vector<int64_t> ids;
  int64_t first_target = 1;  // at least 1

  bool operator==(const ScoredSequence&) const = default;
  int64_t targets() const { return static_cast<int64_t>(ids.size()) - first_target; }
};

struct SequenceScore {
  double log_likelihood = 0;  // natural, summed over the targets
  bool greedy = true;         // every target is a likeliest token
};

struct ScoringOptions {
  int64_t batch_size = 1;       // groups per batch
  bool share_contexts = false;  // what the sequences of a group begin with is computed once
  bool needs_greedy = false;    // otherwise SequenceScore::greedy means nothing
};

// `groups` are the numbers of neighbouring sequences that belong together, such as the choices of
// an item. Batch::example_ids are positions in `sequences`, or -1 for what several share. Batches
// are of falling length.
std::vector<Batch> scoring_batches(std::span<const ScoredSequence> sequences,
                                   std::span<const int64_t> groups, const ScoringOptions& options);

// Entry i is that of sequence i < `sequences`. `done(sequences)` is called after each batch. Throws
// Error naming batch and sequence for a log-likelihood that is not finite.
std::vector<SequenceScore> score_sequences(std::span<const Batch> batches, int64_t sequences,
                                           const Predictor& predictor,
                                           const std::function<void(int64_t)>& done);

// Asks for the likelihood of every token that follows another, as a loss on texts does.
void score_next_tokens(Batch& batch);

}  // namespace quell
