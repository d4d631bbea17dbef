#include "framework/json/json.h"

#include <fmt/format.h>
#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/base/utf8.h"

namespace quell {
namespace {

using nlohmann::json;

// Walks over the text and tells how far the parser has come: its callbacks do not.
struct TrackedIterator {
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  const char* current;
  const char** reached;

  reference operator*() const { return *current; }
  TrackedIterator& operator++() {
    *reached = ++current;
    return *this;
  }
  bool operator==(const TrackedIterator& other) const { return current == other.current; }
  bool operator!=(const TrackedIterator& other) const { return current != other.current; }
};

[[noreturn]] void fail(std::string_view text, size_t position, const std::string& source,
                       int64_t first_line, const std::string& message) {
  const std::string_view before = text.substr(0, std::min(position, text.size()));
  const int64_t line = first_line + std::count(before.begin(), before.end(), '\n');
  const size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0
  const std::string_view in_line = before.substr(line_start);
  // Editors count characters: bytes that continue a character do not count.
  const auto column =
      1 + std::count_if(in_line.begin(), in_line.end(), [](char c) { return (c & 0xC0) != 0x80; });
  throw DataError(fmt::format("{}:{}:{}: {}", source, line, column, message));
}

// Without the number of the library's exception.
std::string without_tag(std::string message) {
  const size_t tag = message.find("] ");
  return tag == std::string::npos ? message : message.substr(tag + 2);
}

// How the parser ends a message. The text before it comes from the file, and may say anything.
constexpr std::array<std::string_view, 6> kExpected = {
    "end of input", "string literal", "':'", "'}'", "']'", "'[', '{', or a literal"};

// The parser's message without its own position and without the text that it read last, which may
// be long and need not be UTF-8.
std::string reason(const json::exception& error) {
  std::string message = without_tag(error.what());
  const size_t column = message.find("column ");
  if (column != std::string::npos) {
    message.erase(0, std::min(message.find(": ", column), message.size() - 2) + 2);
  }
  const size_t last_read = message.find("; last read: ");
  if (last_read != std::string::npos) {
    std::string expected;
    for (const std::string_view name : kExpected) {
      if (message.ends_with(fmt::format("; expected {}", name))) {
        expected = fmt::format("; expected {}", name);
      }
    }
    message = message.substr(0, last_read) + expected;
  }
  return "not valid JSON: " + shown(message);
}

std::string without_byte_order_mark(std::string text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  return text;
}

template <class Float>
std::string format_number(Float value) {
  return std::isfinite(value) ? fmt::format("{}", value) : "null";
}

template <class Json>
Json parse(std::string_view text, const std::string& source, const JsonOptions& options) {
  const char* reached = text.data();
  const auto position = [&] { return static_cast<size_t>(reached - text.data()); };
  std::vector<std::set<std::string>> keys;
  const auto check = [&](int depth, typename Json::parse_event_t event, Json& parsed) {
    const bool starts =
        event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start;
    if (starts && depth >= options.max_depth) {
      fail(text, position(), source, options.first_line,
           fmt::format("nested deeper than {} levels", options.max_depth));
    }
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key &&
        !keys.back().insert(parsed.template get<std::string>()).second) {
      fail(text, position(), source, options.first_line,
           fmt::format("key \"{}\" appears twice", shown(parsed.template get<std::string>())));
    }
    return true;
  };
  try {
    return Json::parse(TrackedIterator{text.data(), &reached},
                       TrackedIterator{text.data() + text.size(), &reached}, check);
  } catch (const json::parse_error& error) {
    const size_t at = error.byte > 0 ? error.byte - 1 : 0;
    fail(text, at, source, options.first_line, reason(error));
  } catch (const json::exception& error) {
    fail(text, position(), source, options.first_line, reason(error));
  }
}

}  // namespace

json parse_json(std::string_view text, const std::string& source, const JsonOptions& options) {
  return parse<json>(text, source, options);
}

nlohmann::ordered_json parse_ordered_json(std::string_view text, const std::string& source,
                                          const JsonOptions& options) {
  return parse<nlohmann::ordered_json>(text, source, options);
}

json read_json_file(const std::filesystem::path& path) {
  return parse_json(without_byte_order_mark(read_file(path)), path.string());
}

void read_own_json(const std::filesystem::path& path,
                   const std::function<void(const nlohmann::ordered_json& root)>& use) {
  const std::string text = read_file(path);
  constexpr const char* kWayOut = "; quell writes such a file whole: remove it, and run again";
  nlohmann::ordered_json root;
  try {
    root = parse_ordered_json(text, path.string());
  } catch (const DataError& error) {
    throw DataError(error.what() + std::string(kWayOut));
  }
  try {
    use(root);
  } catch (const json::exception& error) {
    throw DataError(
        fmt::format("{}: damaged: {}{}", path.string(), without_tag(error.what()), kWayOut));
  }
}

void read_json_lines(const std::filesystem::path& path,
                     const std::function<void(const json& value, int64_t line)>& use) {
  open_file(path);  // says precisely why a file cannot be read
  std::ifstream stream(path, std::ios::binary);
  std::string text;
  JsonOptions options;
  for (int64_t line = 1; std::getline(stream, text); ++line) {
    if (line == 1) text = without_byte_order_mark(std::move(text));
    if (text.find_first_not_of(" \t\r") == std::string::npos) continue;
    options.first_line = line;
    use(parse_json(text, path.string(), options), line);
  }
  if (stream.bad()) throw DataError(fmt::format("{}: error while reading", path.string()));
}

std::string format_json_number(float value) { return format_number(value); }
std::string format_json_number(double value) { return format_number(value); }

}  // namespace quell
