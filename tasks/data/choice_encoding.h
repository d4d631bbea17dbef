// A context and its continuation as tokens, as lm-evaluation-harness encodes them.
#pragma once

#include <cstdint>
#include <string>

#include "tasks/data/scored_sequences.h"
#include "tasks/data/text_encoder.h"

namespace quell {

struct EncodedPair {
  ScoredSequence sequence;  // its targets are the continuation
  bool cut = false;         // the context has lost its beginning
};

// Blanks at the end of the context belong to the continuation. Both are encoded together, and the
// continuation is what stands behind as many tokens as the context alone has; an empty context is
// the prefix token. The model reads at most `max_length` tokens: longer contexts lose their
// beginning. Throws DataError naming `place` for a continuation without tokens or of more than
// `max_length`.
EncodedPair encode_pair(const TextEncoder& encoder, const std::string& context,
                        const std::string& continuation, int64_t max_length,
                        const std::string& place);

}  // namespace quell
