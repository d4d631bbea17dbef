// Operations on texts as Python's str has them, for data that Python code prepares.
#pragma once

#include <string>
#include <string_view>

namespace quell {

// As str.strip(): without the blanks (unicode::is_python_blank()) at both ends.
std::u32string_view stripped(std::u32string_view text);
// As str.rstrip().
std::u32string_view stripped_at_end(std::u32string_view text);

// As str.replace(): from left to right, in one pass; `from` is not empty.
std::u32string replaced(std::u32string_view text, std::u32string_view from, std::u32string_view to);

}  // namespace quell
