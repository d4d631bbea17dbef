#include "framework/text/pre_tokenizers.h"

#include <algorithm>
#include <optional>

#include "framework/text/unicode.h"

namespace quell {
namespace {

// A part of a word: what a split looks for, or what stands between.
struct Part {
  Span span;
  bool is_match;
};

void add_merged_with_next(const std::vector<Part>& parts, std::vector<Span>& words) {
  for (size_t i = 0; i < parts.size(); ++i) {
    const bool joins = parts[i].is_match && i + 1 < parts.size() && !parts[i + 1].is_match;
    if (joins) {
      words.push_back({parts[i].span.begin, parts[i + 1].span.end});
      ++i;
    } else {
      words.push_back(parts[i].span);
    }
  }
}

// Appends the words that `behavior` makes of the parts.
void add_words(const std::vector<Part>& parts, SplitBehavior behavior, std::vector<Span>& words) {
  if (behavior == SplitBehavior::kMergedWithNext) return add_merged_with_next(parts, words);
  for (size_t i = 0; i < parts.size(); ++i) {
    const auto& [span, is_match] = parts[i];
    const bool after_match = i > 0 && parts[i - 1].is_match;
    const bool joins =
        i > 0 && ((behavior == SplitBehavior::kContiguous && is_match == after_match) ||
                  (behavior == SplitBehavior::kMergedWithPrevious && is_match && !after_match));
    if (joins) {
      words.back().end = span.end;
    } else if (!is_match || behavior != SplitBehavior::kRemoved) {
      words.push_back(span);
    }
  }
}

void add_part(std::vector<Part>& parts, int32_t begin, int32_t end, bool is_match) {
  if (begin < end) parts.push_back({{begin, end}, is_match});
}

std::u32string_view text_of(const Words& words, Span span) {
  return std::u32string_view(words.text.text)
      .substr(static_cast<size_t>(span.begin), static_cast<size_t>(span.end - span.begin));
}

// Puts a character before the words for which `wanted(span)` holds; it belongs to the first of
// their characters.
template <class Wanted>
void prepend(Words& words, char32_t character, const Wanted& wanted) {
  if (std::none_of(words.spans.begin(), words.spans.end(), wanted)) return;
  Words out{{}, {}, words.begins_input};
  for (const Span& span : words.spans) {
    const auto begin = static_cast<int32_t>(out.text.text.size());
    if (wanted(span)) {
      out.text.text.push_back(character);
      out.text.source.push_back(words.text.source[static_cast<size_t>(span.begin)]);
    }
    out.text.text += text_of(words, span);
    out.text.source.insert(out.text.source.end(), words.text.source.begin() + span.begin,
                           words.text.source.begin() + span.end);
    out.spans.push_back({begin, static_cast<int32_t>(out.text.text.size())});
  }
  words = std::move(out);
}

}  // namespace

void PatternSplit::split(Words& words) const {
  std::vector<Span> result, matches;
  std::vector<Part> parts;
  for (const Span& word : words.spans) {
    matches.clear();
    parts.clear();
    pattern_->find(text_of(words, word), matches);
    int32_t done = word.begin;
    for (const Span& match : matches) {
      const int32_t begin = word.begin + match.begin, end = word.begin + match.end;
      add_part(parts, done, begin, invert_);
      parts.push_back({{begin, end}, !invert_});  // where it is empty, it divides
      done = end;
    }
    add_part(parts, done, word.end, invert_);
    add_words(parts, behavior_, result);
  }
  std::erase_if(result, [](const Span& span) { return span.begin == span.end; });
  words.spans = std::move(result);
}

void CharacterSplit::split(Words& words) const {
  std::vector<Span> result;
  std::vector<Part> parts;
  for (const Span& word : words.spans) {
    parts.clear();
    int32_t done = word.begin;
    for (int32_t i = word.begin; i < word.end; ++i) {
      if (!predicate_(words.text.text[static_cast<size_t>(i)])) continue;
      add_part(parts, done, i, false);
      add_part(parts, i, i + 1, true);
      done = i + 1;
    }
    add_part(parts, done, word.end, false);
    add_words(parts, behavior_, result);
  }
  words.spans = std::move(result);
}

void ScriptSplit::split(Words& words) const {
  std::vector<Span> result;
  for (const Span& word : words.spans) {
    std::optional<int> last;
    for (int32_t i = word.begin; i < word.end; ++i) {
      const std::optional<int> script = unicode::script(words.text.text[static_cast<size_t>(i)]);
      if (script && script != last) {
        result.push_back({i, i});
        last = script;
      }
      if (last) result.back().end = i + 1;
    }
  }
  words.spans = std::move(result);
}

void FixedLengthSplit::split(Words& words) const {
  std::vector<Span> result;
  for (const Span& word : words.spans) {
    for (int32_t begin = word.begin; begin < word.end;) {
      const int32_t end = begin + std::min(length_, word.end - begin);
      result.push_back({begin, end});
      begin = end;
    }
  }
  words.spans = std::move(result);
}

void PrefixSpace::split(Words& words) const {
  prepend(words, U' ', [&](const Span& span) { return !text_of(words, span).starts_with(U' '); });
}

void Metaspace::split(Words& words) const {
  std::replace(words.text.text.begin(), words.text.text.end(), U' ', replacement_);
  const bool is_whole = words.spans.size() == 1;
  const auto is_first = [&](const Span& span) {
    const bool at_start =
        words.text.source[static_cast<size_t>(span.begin)] == 0 || (is_whole && span.begin == 0);
    return words.begins_input && at_start;
  };
  if (prepend_ != Prepend::kNever) {
    prepend(words, replacement_, [&](const Span& span) {
      return !text_of(words, span).starts_with(replacement_) &&
             (prepend_ == Prepend::kAlways || is_first(span));
    });
  }
  if (!splits_) return;
  const PatternSplit at_words(std::make_unique<StringPattern>(std::u32string(1, replacement_)),
                              SplitBehavior::kMergedWithNext, false);
  at_words.split(words);
}

void PreTokenizerSequence::split(Words& words) const {
  for (const auto& step : steps_) step->split(words);
}

std::unique_ptr<PreTokenizer> make_bert_pre_tokenizer() {
  std::vector<std::unique_ptr<PreTokenizer>> steps;
  steps.push_back(
      std::make_unique<CharacterSplit>(unicode::is_whitespace, SplitBehavior::kRemoved));
  steps.push_back(
      std::make_unique<CharacterSplit>(unicode::is_punctuation, SplitBehavior::kIsolated));
  return std::make_unique<PreTokenizerSequence>(std::move(steps));
}

std::unique_ptr<PreTokenizer> make_word_pre_tokenizer() {
  std::vector<std::unique_ptr<PreTokenizer>> steps;
  steps.push_back(
      std::make_unique<CharacterSplit>(unicode::is_whitespace, SplitBehavior::kRemoved));
  steps.push_back(
      std::make_unique<CharacterSplit>(unicode::is_word_character, SplitBehavior::kContiguous));
  return std::make_unique<PreTokenizerSequence>(std::move(steps));
}

std::unique_ptr<PreTokenizer> make_gpt2_pre_tokenizer(bool prefix_space) {
  std::vector<std::unique_ptr<PreTokenizer>> steps;
  if (prefix_space) steps.push_back(std::make_unique<PrefixSpace>());
  steps.push_back(std::make_unique<PatternSplit>(std::make_unique<RegexPattern>(kGpt2Words),
                                                 SplitBehavior::kIsolated, false));
  return std::make_unique<PreTokenizerSequence>(std::move(steps));
}

}  // namespace quell
