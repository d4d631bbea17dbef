// Questions and contexts as token sequences: long contexts become several overlapping windows.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "framework/model/batch.h"
#include "framework/text/tokenizer.h"
#include "tasks/data/squad_data.h"

namespace quell {

struct SquadWindows {
  int64_t max_length = 384;  // of question, window of the context and special tokens
  int64_t doc_stride = 128;  // tokens that neighbouring windows share
};

// One window. `offsets` are half-open spans in code points of the context, [-1, -1) for tokens
// that do not belong to it. The labels are the first and the last token of the first reference
// answer; (0, 0), the first special token, where it is not completely inside.
struct SquadFeature {
  int64_t example = 0;  // position among the examples
  TokenSequence sequence;
  std::vector<std::pair<int32_t, int32_t>> offsets;
  int64_t start_position = 0;
  int64_t end_position = 0;
};

// The windows of all examples in their order: [CLS] question [SEP] window [SEP], or what the
// tokenizer makes of a pair, as run_qa.py of Hugging Face does (padding apart). Blanks at the
// beginning of questions are removed. Throws DataError naming the question when it leaves no room
// for the context, or none beside the overlap.
//
// Where an answer begins in the last token of its window, run_qa.py goes on through the padding and
// labels the last position; here it is the token.
std::vector<SquadFeature> squad_features(const Tokenizer& tokenizer,
                                         std::span<const SquadExample> examples,
                                         const SquadWindows& windows);

// Batch::start_positions and end_positions of a batch whose example_ids are positions among
// `features`.
void set_answer_positions(Batch& batch, std::span<const SquadFeature> features);

// The token sequences of features, in their order.
std::vector<TokenSequence> sequences_of(std::span<const SquadFeature> features);

}  // namespace quell
