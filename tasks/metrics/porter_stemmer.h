// Porter's stemmer for English, as NLTK varies it.
#pragma once

#include <string>
#include <string_view>

namespace quell {

// The stem of an English word in lower case. M. F. Porter, "An algorithm for suffix stripping",
// 1980, with what NLTK's PorterStemmer changes by default: a list of irregular words, short words
// in -ies and -ied, a softer rule for -y, and some more suffixes. Any other characters than a to z
// count as consonants.
std::string porter_stem(std::string_view word);

}  // namespace quell
