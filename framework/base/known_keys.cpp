#include "framework/base/known_keys.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"

namespace quell {
namespace {

using nlohmann::json;

bool is_named(const KnownKey& known, std::string_view key) {
  if (known.name.ends_with('*')) {
    return key.starts_with(known.name.substr(0, known.name.size() - 1));
  }
  return known.name.starts_with('*') ? key.ends_with(known.name.substr(1)) : known.name == key;
}

const KnownKey* find_key(std::initializer_list<KeyTable> tables, std::string_view key) {
  for (const KeyTable& table : tables) {
    for (const KnownKey& known : table.keys) {
      if (is_named(known, key)) return &known;
    }
  }
  return nullptr;
}

// Large values would hide the message.
std::string shortened(const json& value) {
  constexpr size_t kLongest = 80;
  const std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  return text.size() <= kLongest ? text : text.substr(0, kLongest) + "...";
}

std::string join_values(std::string_view values) {
  std::vector<std::string> texts;
  for (const json& value : json::parse(values)) texts.push_back(value.dump());
  return fmt::format("{}", fmt::join(texts, " or "));
}

std::string_view status_name(KeyStatus status) {
  if (status == KeyStatus::kHonoured) return "honoured";
  return status == KeyStatus::kOnly ? "only" : "no effect";
}

int64_t count(const KeyTable& table, KeyStatus status) {
  return std::count_if(table.keys.begin(), table.keys.end(),
                       [&](const KnownKey& key) { return key.status == status; });
}

// A bar would end a cell of a table.
std::string in_cell(std::string_view text) {
  std::string cell;
  for (const char c : text) {
    if (c == '|') cell += '\\';
    cell += c;
  }
  return cell;
}

}  // namespace

void check_keys(const json& object, std::initializer_list<KeyTable> tables, const std::string& file,
                std::vector<std::string>& notes) {
  const bool is_inside = file.ends_with('.');
  const std::string place = is_inside ? file.substr(0, file.size() - 1) : file;
  if (!object.is_object()) {
    throw DataError(fmt::format("{}: expected an object, found {}", place, object.type_name()));
  }
  std::vector<std::string> problems, unknown;
  for (const auto& [key, value] : object.items()) {
    const KnownKey* known = find_key(tables, key);
    if (known == nullptr) {
      unknown.push_back(key);
      continue;
    }
    if (known->status != KeyStatus::kOnly) continue;
    const json values = json::parse(known->values);
    if (std::find(values.begin(), values.end(), value) != values.end()) continue;
    problems.push_back(fmt::format("{}{}{}: found {}, expected {}; {}", place,
                                   is_inside ? "." : ": ", key, shortened(value),
                                   join_values(known->values), known->note));
  }
  if (!problems.empty()) throw DataError(fmt::format("{}", fmt::join(problems, "\n")));
  if (unknown.empty()) return;
  notes.push_back(
      fmt::format("{}: not known to quell and left aside: {}", place, fmt::join(unknown, ", ")));
}

std::string keys_markdown(std::span<const KeyTable> tables) {
  std::string text = "| file | honoured | at some values | without effect |\n|---|---|---|---|\n";
  for (const KeyTable& table : tables) {
    text += fmt::format("| {} | {} | {} | {} |\n", table.title, count(table, KeyStatus::kHonoured),
                        count(table, KeyStatus::kOnly), count(table, KeyStatus::kNoEffect));
  }
  for (const KeyTable& table : tables) {
    text += fmt::format("\n## {}\n\n| key | | values | note |\n|---|---|---|---|\n", table.title);
    for (const KnownKey& key : table.keys) {
      const bool only = key.status == KeyStatus::kOnly;
      text += fmt::format("| `{}` | {} | {} | {} |\n", key.name, status_name(key.status),
                          only ? fmt::format("`{}`", in_cell(join_values(key.values))) : "",
                          in_cell(key.note));
    }
  }
  return text;
}

}  // namespace quell
