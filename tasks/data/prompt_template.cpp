#include "tasks/data/prompt_template.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"

namespace quell {

PromptTemplate::PromptTemplate(const std::string& text, const std::string& key) : key_(key) {
  std::string literal;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c != '{' && c != '}') {
      literal += c;
    } else if (i + 1 < text.size() && text[i + 1] == c) {
      literal += c;
      ++i;
    } else {
      const size_t end = c == '{' ? text.find_first_of("{}", i + 1) : std::string::npos;
      if (end == std::string::npos || text[end] != '}' || end == i + 1) {
        throw ConfigError(fmt::format(
            "{}: \"{}\" has a brace alone; {{name}} stands for a field, {{{{ for a brace", key_,
            text));
      }
      if (!literal.empty()) parts_.push_back({literal, false});
      literal.clear();
      parts_.push_back({text.substr(i + 1, end - i - 1), true});
      i = end;
    }
  }
  if (!literal.empty()) parts_.push_back({literal, false});
}

const nlohmann::json& PromptTemplate::value(const TableRow& row, const std::string& path) const {
  const nlohmann::json* found = &row.value;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('.', begin), path.size());
    const std::string name = path.substr(begin, end - begin);
    if (!found->is_object() || !found->contains(name)) {
      throw DataError(fmt::format("{}: no \"{}\" for {}; the row has {}", row.place, path, key_,
                                  fmt::join(row.columns(), ", ")));
    }
    found = &found->at(name);
    begin = end + 1;
  }
  return *found;
}

std::string PromptTemplate::text(const TableRow& row) const {
  std::string result;
  for (const Part& part : parts_) {
    if (!part.is_field) {
      result += part.text;
      continue;
    }
    const nlohmann::json& found = value(row, part.text);
    if (found.is_structured() || found.is_null()) {
      throw DataError(fmt::format("{}: \"{}\" must be a text for {}, found {}", row.place,
                                  part.text, key_, found.type_name()));
    }
    result += found.is_string() ? found.get<std::string>() : found.dump();
  }
  return result;
}

const nlohmann::json* PromptTemplate::field(const TableRow& row) const {
  return parts_.size() == 1 && parts_.front().is_field ? &value(row, parts_.front().text) : nullptr;
}

}  // namespace quell
