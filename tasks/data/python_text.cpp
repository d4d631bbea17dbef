#include "tasks/data/python_text.h"

#include "framework/text/unicode.h"

namespace quell {

std::u32string_view stripped(std::u32string_view text) {
  text = stripped_at_end(text);
  while (!text.empty() && unicode::is_python_blank(text.front())) text.remove_prefix(1);
  return text;
}

std::u32string_view stripped_at_end(std::u32string_view text) {
  while (!text.empty() && unicode::is_python_blank(text.back())) text.remove_suffix(1);
  return text;
}

std::u32string replaced(std::u32string_view text, std::u32string_view from,
                        std::u32string_view to) {
  std::u32string result;
  for (size_t found; (found = text.find(from)) != text.npos;) {
    result.append(text.substr(0, found)).append(to);
    text.remove_prefix(found + from.size());
  }
  return result.append(text);
}

}  // namespace quell
