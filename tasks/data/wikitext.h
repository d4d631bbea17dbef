// What lm-evaluation-harness does with the pages of WikiText (its task wikitext 2.0).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace quell {

// The pages of a file of WikiText: each begins with a line " = Title = ". What stands before the
// first one is a page of its own unless it is blank.
std::vector<std::string> wikitext_pages(std::string_view text);

// Takes back what tokenization has done to punctuation, by about 30 replacements in a fixed order.
std::string detokenize_wikitext(std::string_view page);

// Pieces between runs of white space; where such a run begins or ends the text, an empty piece
// counts there.
int64_t count_words(std::string_view text);

}  // namespace quell
