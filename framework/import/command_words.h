// Words of a command line, and the options among them.
#pragma once

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "framework/import/notes.h"

namespace quell::published {

// The words of a shell command, or of a file with one: quotes, backslashes, lines that go on and
// comments. Throws ConfigError where a quote is not closed.
std::vector<std::string> shell_words(std::string_view text);

struct CommandOption {
  enum class Takes { kSwitch, kValue, kTwoValues };

  std::string_view name;
  Takes takes = Takes::kValue;
  std::string_view off = {};             // of a switch that can be switched off
  std::string_view without_effect = {};  // why; empty: it has one
  std::string_view refused = {};         // why, with the way out; empty: it is not
};

// A program's commands and all of its options.
struct CommandLanguage {
  std::span<const std::string_view> commands;
  std::span<const CommandOption> options;
};

bool is_one_of(std::string_view word, std::span<const std::string_view> words);
// Of all the text, or nothing.
template <class Number>
std::optional<Number> number_of(std::string_view text) {
  Number value{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || text.empty()) return {};
  return value;
}

// Options and their values as they stand in a command; the problems of all of them are collected.
class CommandWords {
 public:
  // Words in front of the first option that are no command (python main.py) are skipped.
  CommandWords(const std::vector<std::string>& words, const CommandLanguage& language);

  // Empty: none is named.
  const std::string& command() const { return command_; }
  bool given(std::string_view name) const { return values_.count(name) > 0; }

  // Each leaves `to` as it is where the option is not given; the last of several counts.
  void text(std::string_view name, std::string& to) const;
  void choice(std::string_view name, std::string& to, std::span<const std::string_view> known);
  void flag(std::string_view name, std::optional<bool>& to) const;
  void flag(std::string_view name, bool& to) const;
  template <class Number, class Place>
  void number(std::string_view name, Place& to, Number least, Number most) {
    if (const std::string* value = last(name)) take_number(name, *value, to, least, most);
  }
  template <class Number>
  void two_numbers(std::string_view name, Number& first, Number& second, Number least,
                   Number most) {
    const std::vector<std::string>& values = all(name);
    if (values.size() < 2) return;
    take_number(name, values[values.size() - 2], first, least, most);
    take_number(name, values.back(), second, least, most);
  }
  const std::vector<std::string>& all(std::string_view name) const;

  void problem(std::string text) { problems_.push_back(std::move(text)); }
  // Those that the language refuses.
  void refuse();
  // A note for each reason, with the options that have no effect for it.
  void note_without_effect(ImportNotes& notes) const;
  void throw_if_any() const;

 private:
  template <class Number, class Place>
  void take_number(std::string_view name, const std::string& value, Place& to, Number least,
                   Number most) {
    const auto found = number_of<Number>(value);
    if (!found) {
      return problem(fmt::format("{}: expected a number, found \"{}\"", name, value));
    }
    if (!(*found >= least && *found <= most)) {
      return problem(fmt::format("{}: must be in [{}, {}], found {}", name, least, most, *found));
    }
    to = *found;
  }
  // The index of its last word.
  size_t take_option(const std::vector<std::string>& words, size_t index);
  std::string unknown_option(const std::string& name) const;
  const std::string* last(std::string_view name) const;

  CommandLanguage language_;
  std::string command_;
  std::map<std::string_view, std::vector<std::string>> values_;
  std::vector<std::string> problems_;
};

}  // namespace quell::published
