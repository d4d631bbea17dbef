#include "tasks/metrics/porter_stemmer.h"

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <utility>

namespace quell {
namespace {

using Condition = bool (*)(std::string_view stem);

struct Rule {
  std::string_view suffix;
  std::string_view replacement;
};

bool is_vowel(char letter) {
  return letter == 'a' || letter == 'e' || letter == 'i' || letter == 'o' || letter == 'u';
}

// Whether a letter is a consonant, given whether the one before it is: y after a vowel or at the
// start of the word is one.
bool is_consonant_after(char letter, bool consonant_before) {
  return letter == 'y' ? !consonant_before : !is_vowel(letter);
}

bool is_consonant(std::string_view word, size_t position) {
  size_t start = position;
  while (start > 0 && word[start] == 'y') --start;
  bool consonant = is_consonant_after(word[start], /*consonant_before=*/false);
  for (size_t i = start; i < position; ++i) consonant = is_consonant_after(word[i + 1], consonant);
  return consonant;
}

// Porter's m: how often a consonant follows a vowel.
int measure(std::string_view stem) {
  int count = 0;
  bool consonant_before = false, any_before = false;
  for (const char letter : stem) {
    const bool consonant = is_consonant_after(letter, consonant_before);
    count += any_before && consonant && !consonant_before;
    consonant_before = consonant;
    any_before = true;
  }
  return count;
}

bool is_positive(std::string_view stem) { return measure(stem) > 0; }
bool is_above_one(std::string_view stem) { return measure(stem) > 1; }

bool contains_vowel(std::string_view stem) {
  // A y is a vowel after a consonant, and after a vowel there is one anyway.
  return std::any_of(stem.begin(), stem.end(), is_vowel) ||
         (!stem.empty() && stem.find('y', 1) != std::string_view::npos);
}

bool ends_in_double_consonant(std::string_view word) {
  return word.size() >= 2 && word.back() == word[word.size() - 2] &&
         is_consonant(word, word.size() - 1);
}

// Consonant, vowel, consonant other than w, x, y at the end; NLTK adds words of a vowel and a
// consonant.
bool ends_in_short_syllable(std::string_view word) {
  const size_t size = word.size();
  if (size == 2) return !is_consonant(word, 0) && is_consonant(word, 1);
  return size >= 3 && is_consonant(word, size - 3) && !is_consonant(word, size - 2) &&
         is_consonant(word, size - 1) && word.back() != 'w' && word.back() != 'x' &&
         word.back() != 'y';
}

// What is left of the word without the suffix, where it has it.
std::optional<std::string_view> without(std::string_view word, std::string_view suffix) {
  if (!word.ends_with(suffix)) return std::nullopt;
  return word.substr(0, word.size() - suffix.size());
}

std::string join(std::string_view stem, std::string_view ending) {
  return std::string(stem).append(ending);
}

// The first rule whose suffix the word has decides; where the stem does not meet the condition the
// word stays as it is.
std::string apply_first(std::string word, std::initializer_list<Rule> rules, Condition condition) {
  for (const Rule& rule : rules) {
    const auto stem = without(word, rule.suffix);
    if (!stem) continue;
    return condition(*stem) ? join(*stem, rule.replacement) : word;
  }
  return word;
}

// Words that NLTK knows by heart.
std::optional<std::string_view> irregular_stem(std::string_view word) {
  static constexpr std::pair<std::string_view, std::string_view> kStems[] = {
      {"sky", "sky"},       {"skies", "sky"},       {"dying", "die"},       {"lying", "lie"},
      {"tying", "tie"},     {"news", "news"},       {"inning", "inning"},   {"innings", "inning"},
      {"outing", "outing"}, {"outings", "outing"},  {"canning", "canning"}, {"cannings", "canning"},
      {"howe", "howe"},     {"proceed", "proceed"}, {"exceed", "exceed"},   {"succeed", "succeed"},
  };
  for (const auto& [form, stem] : kStems) {
    if (form == word) return stem;
  }
  return std::nullopt;
}

constexpr size_t kShortWord = 4;  // "dies", "died"

std::string remove_plural(std::string word) {  // step 1a
  if (word.size() == kShortWord && word.ends_with("ies")) return word.substr(0, 3);
  return apply_first(std::move(word), {{"sses", "ss"}, {"ies", "i"}, {"ss", "ss"}, {"s", ""}},
                     [](std::string_view) { return true; });
}

// What a stem gets back after it has lost -ed or -ing.
std::string repair(std::string_view stem) {
  for (const std::string_view ending : {"at", "bl", "iz"}) {
    if (stem.ends_with(ending)) return join(stem, "e");
  }
  if (ends_in_double_consonant(stem)) {
    const char last = stem.back();
    const bool stays = last == 'l' || last == 's' || last == 'z';
    return std::string(stays ? stem : stem.substr(0, stem.size() - 1));
  }
  return measure(stem) == 1 && ends_in_short_syllable(stem) ? join(stem, "e") : std::string(stem);
}

std::string remove_past_and_participle(std::string word) {  // step 1b
  if (const auto stem = without(word, "ied")) {
    return join(*stem, word.size() == kShortWord ? "ie" : "i");
  }
  if (const auto stem = without(word, "eed")) {
    return is_positive(*stem) ? join(*stem, "ee") : word;
  }
  for (const std::string_view suffix : {"ed", "ing"}) {
    const auto stem = without(word, suffix);
    if (stem && contains_vowel(*stem)) return repair(*stem);
  }
  return word;
}

std::string replace_final_y(std::string word) {  // step 1c
  return apply_first(std::move(word), {{"y", "i"}}, [](std::string_view stem) {
    return stem.size() > 1 && is_consonant(stem, stem.size() - 1);
  });
}

std::string shorten_double_suffixes(std::string word) {  // step 2
  const auto rest = without(word, "alli");
  if (rest && is_positive(*rest)) return shorten_double_suffixes(join(*rest, "al"));
  // NLTK measures the stem of -logi together with its l.
  const auto logi = without(word, "logi");
  if (logi) return is_positive(join(*logi, "l")) ? join(*logi, "log") : word;
  return apply_first(std::move(word), {{"ational", "ate"}, {"tional", "tion"}, {"enci", "ence"},
                                       {"anci", "ance"},   {"izer", "ize"},    {"bli", "ble"},
                                       {"alli", "al"},     {"entli", "ent"},   {"eli", "e"},
                                       {"ousli", "ous"},   {"ization", "ize"}, {"ation", "ate"},
                                       {"ator", "ate"},    {"alism", "al"},    {"iveness", "ive"},
                                       {"fulness", "ful"}, {"ousness", "ous"}, {"aliti", "al"},
                                       {"iviti", "ive"},   {"biliti", "ble"},  {"fulli", "ful"}},
                     is_positive);
}

std::string shorten_adjectives(std::string word) {  // step 3
  return apply_first(std::move(word),
                     {{"icate", "ic"},
                      {"ative", ""},
                      {"alize", "al"},
                      {"iciti", "ic"},
                      {"ical", "ic"},
                      {"ful", ""},
                      {"ness", ""}},
                     is_positive);
}

std::string remove_suffix(std::string word) {  // step 4
  if (const auto stem = without(word, "ion")) {
    const bool fits = stem->ends_with('s') || stem->ends_with('t');
    return fits && is_above_one(*stem) ? std::string(*stem) : word;
  }
  return apply_first(std::move(word),
                     {{"al", ""},
                      {"ance", ""},
                      {"ence", ""},
                      {"er", ""},
                      {"ic", ""},
                      {"able", ""},
                      {"ible", ""},
                      {"ant", ""},
                      {"ement", ""},
                      {"ment", ""},
                      {"ent", ""},
                      {"ou", ""},
                      {"ism", ""},
                      {"ate", ""},
                      {"iti", ""},
                      {"ous", ""},
                      {"ive", ""},
                      {"ize", ""}},
                     is_above_one);
}

std::string tidy_up(std::string word) {  // step 5
  if (const auto stem = without(word, "e")) {
    const int m = measure(*stem);
    if (m > 1 || (m == 1 && !ends_in_short_syllable(*stem))) word.pop_back();
  }
  if (word.ends_with("ll") && is_above_one(std::string_view(word).substr(0, word.size() - 1))) {
    word.pop_back();
  }
  return word;
}

}  // namespace

std::string porter_stem(std::string_view word) {
  if (const auto stem = irregular_stem(word)) return std::string(*stem);
  if (word.size() <= 2) return std::string(word);
  std::string stem = remove_plural(std::string(word));
  stem = remove_past_and_participle(std::move(stem));
  stem = replace_final_y(std::move(stem));
  stem = shorten_double_suffixes(std::move(stem));
  stem = shorten_adjectives(std::move(stem));
  stem = remove_suffix(std::move(stem));
  return tidy_up(std::move(stem));
}

}  // namespace quell
