// UTF-8, and the character classes of the Hugging Face `tokenizers` library.
//
// That library reads general categories from tables of Unicode 8, decompositions and combining
// classes from tables of Unicode 9, and white space and case from the Rust standard library
// (Unicode 17). The functions below answer as those tables do, whatever ICU version is installed:
// ICU knows since which version a code point is assigned.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace quell::unicode {

// Code points of `bytes`. Every maximal invalid part (as Unicode 3.9 and WHATWG define it) becomes
// one U+FFFD.
std::u32string decode_utf8(std::string_view bytes);
// Invalid code points (surrogates, above U+10FFFF) are written as U+FFFD.
std::string encode_utf8(std::u32string_view text);
bool is_valid_utf8(std::string_view bytes);

bool is_whitespace(char32_t c);       // property White_Space
bool is_other(char32_t c);            // control, format, private use
bool is_nonspacing_mark(char32_t c);  // category Mn
bool is_mark(char32_t c);             // categories M*
bool is_numeric(char32_t c);          // categories N*
bool is_punctuation(char32_t c);      // categories P*, and every ASCII symbol
bool is_word_character(char32_t c);   // \w of Rust regular expressions
bool is_alphanumeric(char32_t c);     // categories L* and N*, as str.isalnum() of Python

// A number for the script that a character is written in, as the pre-tokenizer UnicodeScripts tells
// them apart (Unicode 9): kana counts as Han; none for a blank and for what is not assigned.
std::optional<int> script(char32_t c);

// Appends the lower-case form of one code point, without regard to its neighbours (so a final
// sigma stays a plain one); U+0130 gives two code points.
void append_lowercase(char32_t c, std::u32string& out);

// The lower-case form of a whole text, as str.lower() of Python: a sigma that ends a word becomes
// the final one.
std::u32string lowercase(std::u32string_view text);

// The whole text in lower case but its first character, which is in title case, as
// str.capitalize() of Python.
std::u32string capitalize(std::u32string_view text);

// White space as str.strip() of Python sees it, which adds four separators of ASCII.
bool is_python_blank(char32_t c);

enum class Decomposition { kCanonical, kCompatibility };

// Appends the full decomposition of `c`, in canonical order; `c` itself if it has none.
void append_decomposition(char32_t c, std::u32string& out,
                          Decomposition kind = Decomposition::kCanonical);
int combining_class(char32_t c);
// The character that canonical composition makes of two.
std::optional<char32_t> compose(char32_t first, char32_t second);

}  // namespace quell::unicode
