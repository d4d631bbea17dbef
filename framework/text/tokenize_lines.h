// The work of `quell tokenize`: lines of text in, one line of JSON each out.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>

#include "framework/text/tokenizer.h"

namespace quell {

enum class LineFormat {
  kAuto,   // JSON lines if the first line that is not blank is a JSON object with "text"
  kPlain,  // every line is a text, an empty one too
  kJson,   // every line that is not blank is a JSON object
};

struct TokenizeLinesOptions {
  TokenizerOptions tokenizer;  // where a line's "op" does not say otherwise
  bool decode = false;         // also decode the ids
  LineFormat format = LineFormat::kAuto;
  bool ascii = false;  // escape everything outside ASCII; otherwise UTF-8
};

struct TokenizeLinesSummary {
  int64_t lines = 0;    // written
  int64_t refused = 0;  // of these, with "error"
};

// In: texts, one a line (a carriage return at the end and a byte order mark at the start do not
// count), or objects
//   {"text", "pair"?, "op"?: {"special", "max_length", "strategy": "longest_first" | "only_first" |
//    "only_second", "stride", "overflow", "decode"}}
// of which every member of "op" is optional. All other members are copied to the output, except
// those that have the name of an answer. Bytes that are no UTF-8 count as U+FFFD.
//
// Out: {"ids", "types", "tokens", "offsets": [[begin, end], ...], "sequence"}, with decode also
// "decoded" and "decoded_skip" (without special tokens), the fields of Encoding. With overflow, a
// list of such objects under "windows". {"error": message} where the tokenizer refuses the text or
// its options.
//
// Throws DataError naming `source` and the line for input that is no such object; Error when `out`
// cannot be written.
TokenizeLinesSummary tokenize_lines(const Tokenizer& tokenizer, std::istream& in,
                                    const std::string& source, std::ostream& out,
                                    const TokenizeLinesOptions& options);

// "longest_first", "only_first" or "only_second". Throws ConfigError.
Truncation parse_truncation(const std::string& name);

}  // namespace quell
