// Cutting a tokenized text, or a pair of them, to a maximum length, in windows.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "framework/text/stages.h"
#include "framework/text/tokenizer.h"

namespace quell {

// What one window takes of the first and of the second text, in tokens.
struct Window {
  Span first, second;
};

// Windows of texts with `first` and (for a pair) `second` tokens, of which `room` tokens fit into a
// window beside the special tokens. Only the first window unless options.overflow.
//
// Windows come in the order of the Hugging Face library: all windows of the second text for each
// window of the first, but those with the first window of the first text at the end. As there, a
// text of which nothing fits at all (room 0) has an empty window and one with all of it.
// Throws DataError when the text that options.truncation names cannot be cut so far, or when
// options.stride is not smaller than what a window holds of a text, or when a pair would give an
// absurd number of windows.
std::vector<Window> truncate(int32_t first, std::optional<int32_t> second, int64_t room,
                             const TokenizerOptions& options);

}  // namespace quell
