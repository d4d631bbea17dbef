// Regular expressions of tokenizer.json, which the Hugging Face library compiles with Oniguruma.
#pragma once

#include <string>
#include <string_view>

namespace quell {

// The same expression in the syntax of ICU, for which some of the signs mean something else: `.`
// and `$` know one end of a line only, `^` stands at every line, \w has no joiners, \h is a
// hexadecimal digit, `--` is nothing special in a set. Throws DataError for what has no
// counterpart.
std::string icu_from_oniguruma(std::string_view pattern);

}  // namespace quell
