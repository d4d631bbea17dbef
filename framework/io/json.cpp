#include "framework/io/json.h"

#include <fmt/format.h>
#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>

#include "framework/base/error.h"
#include "framework/base/file.h"

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

// The parser's message without its own position and without the text that it read last, which may
// be long and need not be UTF-8.
std::string reason(const json::exception& error) {
  std::string message = error.what();
  const size_t tag = message.find("] ");
  if (tag != std::string::npos) message.erase(0, tag + 2);
  const size_t column = message.find("column ");
  if (column != std::string::npos) {
    message.erase(0, std::min(message.find(": ", column), message.size() - 2) + 2);
  }
  const size_t last_read = message.find("; last read: ");
  if (last_read != std::string::npos) {
    const size_t expected = message.rfind("; expected ");
    message.erase(last_read, expected == std::string::npos || expected < last_read
                                 ? std::string::npos
                                 : expected - last_read);
  }
  return "not valid JSON: " + message;
}

std::string without_byte_order_mark(std::string text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  return text;
}

template <class Float>
std::string format_number(Float value) {
  return std::isfinite(value) ? fmt::format("{}", value) : "null";
}

}  // namespace

json parse_json(std::string_view text, const std::string& source, const JsonOptions& options) {
  const char* reached = text.data();
  const auto position = [&] { return static_cast<size_t>(reached - text.data()); };
  std::vector<std::set<std::string>> keys;
  const auto check = [&](int depth, json::parse_event_t event, json& parsed) {
    const bool starts =
        event == json::parse_event_t::object_start || event == json::parse_event_t::array_start;
    if (starts && depth >= options.max_depth) {
      fail(text, position(), source, options.first_line,
           fmt::format("nested deeper than {} levels", options.max_depth));
    }
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key &&
        !keys.back().insert(parsed.get<std::string>()).second) {
      fail(text, position(), source, options.first_line,
           fmt::format("key \"{}\" appears twice", parsed.get<std::string>()));
    }
    return true;
  };
  try {
    return json::parse(TrackedIterator{text.data(), &reached},
                       TrackedIterator{text.data() + text.size(), &reached}, check);
  } catch (const json::parse_error& error) {
    const size_t at = error.byte > 0 ? error.byte - 1 : 0;
    fail(text, at, source, options.first_line, reason(error));
  } catch (const json::exception& error) {
    fail(text, position(), source, options.first_line, reason(error));
  }
}

json read_json_file(const std::filesystem::path& path) {
  return parse_json(without_byte_order_mark(read_file(path)), path.string());
}

void read_json_lines(const std::filesystem::path& path,
                     const std::function<void(const json& value, int64_t line)>& use) {
  std::ifstream stream(path, std::ios::binary);
  // read_file() says precisely why a file cannot be read.
  if (!stream || std::filesystem::is_directory(path)) read_file(path);
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

size_t find_invalid_utf8(std::string_view text) {
  const auto byte = [&](size_t i) -> unsigned { return static_cast<unsigned char>(text[i]); };
  for (size_t i = 0; i < text.size();) {
    const unsigned lead = byte(i);
    const size_t length = lead < 0x80                   ? 1
                          : lead >= 0xC2 && lead < 0xE0 ? 2
                          : lead < 0xE0                 ? 0
                          : lead < 0xF0                 ? 3
                          : lead < 0xF5                 ? 4
                                                        : 0;
    if (length == 0 || length > text.size() - i) return i;
    for (size_t k = 1; k < length; ++k) {
      if ((byte(i + k) & 0xC0) != 0x80) return i;
    }
    // Longer forms of shorter characters, surrogates, and beyond U+10FFFF.
    if (lead == 0xE0 && byte(i + 1) < 0xA0) return i;
    if (lead == 0xED && byte(i + 1) >= 0xA0) return i;
    if (lead == 0xF0 && byte(i + 1) < 0x90) return i;
    if (lead == 0xF4 && byte(i + 1) >= 0x90) return i;
    i += length;
  }
  return std::string_view::npos;
}

}  // namespace quell
