#include "framework/import/command_words.h"

#include <fmt/ranges.h>
#include <cctype>

#include "framework/base/error.h"
#include "framework/base/suggest.h"

namespace quell::published {

bool is_one_of(std::string_view word, std::span<const std::string_view> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::vector<std::string> shell_words(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  bool inside = false;  // of a word, which may be empty
  const auto end_word = [&] {
    if (inside) words.push_back(word);
    word.clear();
    inside = false;
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\'' || c == '"') {
      inside = true;
      for (++i; i < text.size() && text[i] != c; ++i) {
        if (c == '"' && text[i] == '\\' && i + 1 < text.size()) ++i;
        word += text[i];
      }
      if (i >= text.size()) {
        throw ConfigError(fmt::format("a quote ({}) of the command is not closed", c));
      }
    } else if (c == '\\' && i + 1 < text.size()) {
      ++i;
      if (text[i] == '\r' && i + 1 < text.size()) ++i;
      if (text[i] != '\n') {
        word += text[i];
        inside = true;
      }
    } else if (std::isspace(static_cast<unsigned char>(c)) != 0) {
      end_word();
    } else if (c == '#' && !inside) {
      while (i < text.size() && text[i] != '\n') ++i;
    } else {
      word += c;
      inside = true;
    }
  }
  end_word();
  return words;
}

CommandWords::CommandWords(const std::vector<std::string>& words, const CommandLanguage& language)
    : language_(language) {
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i].starts_with("--")) {
      i = take_option(words, i);
    } else if (is_one_of(words[i], language_.commands)) {
      command_ = words[i];
    } else if (!command_.empty() || !values_.empty()) {
      problem(fmt::format("{}: expected an option, such as --n-bits", words[i]));
    }
  }
}

void CommandWords::text(std::string_view name, std::string& to) const {
  if (const std::string* value = last(name)) to = *value;
}

void CommandWords::choice(std::string_view name, std::string& to,
                          std::span<const std::string_view> known) {
  const std::string* value = last(name);
  if (value == nullptr) return;
  if (!is_one_of(*value, known)) {
    return problem(
        fmt::format("{}: unknown \"{}\"; known: {}", name, *value, fmt::join(known, ", ")));
  }
  to = *value;
}

// The word that switches off stands for itself.
void CommandWords::flag(std::string_view name, std::optional<bool>& to) const {
  if (const std::string* value = last(name)) to = value->empty();
}

void CommandWords::flag(std::string_view name, bool& to) const {
  if (const std::string* value = last(name)) to = value->empty();
}

const std::vector<std::string>& CommandWords::all(std::string_view name) const {
  static const std::vector<std::string> none;
  const auto found = values_.find(name);
  return found == values_.end() ? none : found->second;
}

void CommandWords::refuse() {
  for (const CommandOption& option : language_.options) {
    if (!option.refused.empty() && given(option.name)) {
      problem(fmt::format("{}: {}", option.name, option.refused));
    }
  }
}

void CommandWords::note_without_effect(ImportNotes& notes) const {
  std::vector<std::pair<std::string_view, std::string>> reasons;
  for (const CommandOption& option : language_.options) {
    if (option.without_effect.empty() || !given(option.name)) continue;
    const auto same = std::find_if(reasons.begin(), reasons.end(), [&](const auto& reason) {
      return reason.first == option.without_effect;
    });
    if (same == reasons.end()) {
      reasons.emplace_back(option.without_effect, option.name);
    } else {
      same->second += fmt::format(", {}", option.name);
    }
  }
  for (const auto& [reason, names] : reasons) {
    notes.push_back({ImportNote::Kind::kNoEffect, fmt::format("{}: {}", names, reason)});
  }
}

void CommandWords::throw_if_any() const {
  if (!problems_.empty()) throw ConfigError(fmt::format("{}", fmt::join(problems_, "\n")));
}

size_t CommandWords::take_option(const std::vector<std::string>& words, size_t index) {
  using Takes = CommandOption::Takes;
  const size_t equals = words[index].find('=');
  const std::string name = words[index].substr(0, equals);
  const auto& options = language_.options;
  const auto option = std::find_if(options.begin(), options.end(), [&](const auto& known) {
    return known.name == name || (!known.off.empty() && known.off == name);
  });
  if (option == options.end()) {
    problem(unknown_option(name));
    // Its value, if it has one.
    const bool value = index + 1 < words.size() && !words[index + 1].starts_with("--");
    return value && equals == std::string::npos ? index + 1 : index;
  }
  std::vector<std::string>& values = values_[option->name];
  if (option->takes == Takes::kSwitch) {
    values.push_back(name == option->off ? name : "");
    return index;
  }
  size_t count = option->takes == Takes::kTwoValues ? 2 : 1;
  if (equals != std::string::npos) {
    values.push_back(words[index].substr(equals + 1));
    --count;
  }
  if (index + count >= words.size()) {
    problem(fmt::format("{}: its value is missing", name));
    return words.size();
  }
  for (size_t i = 1; i <= count; ++i) values.push_back(words[index + i]);
  return index + count;
}

std::string CommandWords::unknown_option(const std::string& name) const {
  std::vector<std::string> known;
  for (const CommandOption& option : language_.options) known.emplace_back(option.name);
  const auto match = closest_match(name, known);
  return fmt::format("{}: unknown option{}", name,
                     match ? fmt::format("; did you mean {}?", *match) : "");
}

const std::string* CommandWords::last(std::string_view name) const {
  const auto found = values_.find(name);
  return found == values_.end() || found->second.empty() ? nullptr : &found->second.back();
}

}  // namespace quell::published
