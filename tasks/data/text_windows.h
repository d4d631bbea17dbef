// A text of tokens, cut into what a model is given at once: three ways, of which each gives another
// perplexity.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "tasks/data/scored_sequences.h"

namespace quell {

// As in the papers (Frantar et al. 2023, GPTQ; the code of Outlier Suppression+): windows of
// `length` tokens one behind another, each alone, whose first token is not predicted; what is left
// at the end is dropped. With `start` every window begins with that token, and holds one less of
// the text.
std::vector<ScoredSequence> disjoint_windows(std::span<const int64_t> ids, int64_t length,
                                             std::optional<int64_t> start = std::nullopt);

// As in the documentation of Hugging Face transformers (Perplexity of fixed-length models): windows
// of `length` tokens, `stride` apart, in which only tokens are predicted that no window before has;
// the last one ends with the text.
std::vector<ScoredSequence> strided_windows(std::span<const int64_t> ids, int64_t length,
                                            int64_t stride);

// As in lm-evaluation-harness, with one token of context: every token of the text is predicted, the
// first one behind `prefix`. Inputs are of `length` tokens, and the last one has as much context as
// it can.
std::vector<ScoredSequence> rolling_windows(std::span<const int64_t> ids, int64_t length,
                                            int64_t prefix);

}  // namespace quell
