#include "tasks/metrics/rouge.h"

#include <algorithm>
#include <iterator>
#include <span>
#include <unordered_map>

#include "tasks/metrics/porter_stemmer.h"

namespace quell {
namespace {

using Word = uint32_t;  // equal words have equal numbers
using Sentence = std::vector<Word>;

// Numbers words as they come.
class Words {
 public:
  explicit Words(bool use_stemmer) : use_stemmer_(use_stemmer) {}

  // One entry for each line that is not empty.
  std::vector<Sentence> sentences(std::string_view text) {
    std::vector<Sentence> result;
    while (!text.empty()) {
      const size_t end = std::min(text.find('\n'), text.size());
      if (end > 0) result.push_back(split(text.substr(0, end)));
      text.remove_prefix(std::min(end + 1, text.size()));
    }
    return result;
  }

  size_t size() const { return numbers_.size(); }

 private:
  Sentence split(std::string_view text) {
    Sentence words;
    std::string word;
    const auto end_word = [&] {
      if (!word.empty()) words.push_back(number_of(word));
      word.clear();
    };
    for (size_t i = 0; i < text.size(); ++i) {
      char c = text[i];
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
      const bool belongs = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
      // The two other characters whose lower case has a letter of ASCII in it: the Kelvin sign,
      // and I with a dot, which becomes an i and a dot.
      if (belongs) {
        word += c;
      } else if (text.substr(i).starts_with("\u212A")) {
        word += 'k';
        i += std::string_view("\u212A").size() - 1;
      } else {
        if (text.substr(i).starts_with("\u0130")) word += 'i';
        end_word();
      }
    }
    end_word();
    return words;
  }

  Word number_of(const std::string& word) {
    constexpr size_t kLongestUnstemmed = 3;
    const bool stem = use_stemmer_ && word.size() > kLongestUnstemmed;
    const auto [entry, added] =
        numbers_.try_emplace(stem ? porter_stem(word) : word, static_cast<Word>(numbers_.size()));
    return entry->second;
  }

  bool use_stemmer_;
  std::unordered_map<std::string, Word> numbers_;
};

Sentence whole_text(const std::vector<Sentence>& sentences) {
  Sentence words;
  for (const Sentence& sentence : sentences) {
    words.insert(words.end(), sentence.begin(), sentence.end());
  }
  return words;
}

RougeValue value_of(size_t hits, size_t prediction_size, size_t reference_size) {
  if (hits == 0) return {};
  RougeValue value;
  value.precision = static_cast<double>(hits) / static_cast<double>(prediction_size);
  value.recall = static_cast<double>(hits) / static_cast<double>(reference_size);
  value.f = 2 * value.precision * value.recall / (value.precision + value.recall);
  return value;
}

// The n-grams (n is 1 or 2) of a text, sorted.
std::vector<uint64_t> ngrams(const Sentence& words, size_t n) {
  constexpr int kWordBits = 32;
  std::vector<uint64_t> result;
  for (size_t i = 0; i + n <= words.size(); ++i) {
    result.push_back(n == 1 ? words[i] : (uint64_t{words[i]} << kWordBits) | words[i + 1]);
  }
  std::sort(result.begin(), result.end());
  return result;
}

RougeValue ngram_value(const Sentence& prediction, const Sentence& reference, size_t n) {
  const auto predicted = ngrams(prediction, n), expected = ngrams(reference, n);
  std::vector<uint64_t> common;
  std::set_intersection(predicted.begin(), predicted.end(), expected.begin(), expected.end(),
                        std::back_inserter(common));
  return value_of(common.size(), predicted.size(), expected.size());
}

size_t common_length(const Sentence& prediction, const Sentence& reference) {
  std::vector<uint32_t> lengths(prediction.size() + 1);
  for (const Word word : reference) {
    uint32_t diagonal = 0;
    for (size_t i = 0; i < prediction.size(); ++i) {
      const uint32_t above = lengths[i + 1];
      lengths[i + 1] = prediction[i] == word ? diagonal + 1 : std::max(above, lengths[i]);
      diagonal = above;
    }
  }
  return lengths.back();
}

// Marks the words of the reference in one longest common subsequence. There may be several:
// walking back from the ends, equal words are taken, else the reference is left first unless only
// leaving the prediction keeps the length.
void mark_common(const Sentence& reference, const Sentence& prediction, std::vector<bool>& marks) {
  const size_t columns = prediction.size();
  std::vector<uint32_t> lengths(columns + 1);
  std::vector<bool> leave_prediction(reference.size() * columns);
  for (size_t row = 0; row < reference.size(); ++row) {
    uint32_t diagonal = 0;
    for (size_t i = 0; i < columns; ++i) {
      const uint32_t above = lengths[i + 1];
      leave_prediction[row * columns + i] = lengths[i] > above;
      lengths[i + 1] = prediction[i] == reference[row] ? diagonal + 1 : std::max(above, lengths[i]);
      diagonal = above;
    }
  }
  for (size_t row = reference.size(), i = columns; row > 0 && i > 0;) {
    if (reference[row - 1] == prediction[i - 1]) {
      marks[--row] = true;
      --i;
    } else if (leave_prediction[(row - 1) * columns + i - 1]) {
      --i;
    } else {
      --row;
    }
  }
}

std::vector<uint32_t> counts(const Sentence& words, size_t vocabulary) {
  std::vector<uint32_t> result(vocabulary);
  for (const Word word : words) ++result[word];
  return result;
}

// Of each sentence of the reference the words that some sentence of the prediction has in the same
// order; a word counts no more often than in either text.
size_t union_hits(std::span<const Sentence> prediction, std::span<const Sentence> reference,
                  std::vector<uint32_t> left_in_prediction,
                  std::vector<uint32_t> left_in_reference) {
  size_t hits = 0;
  for (const Sentence& sentence : reference) {
    std::vector<bool> marks(sentence.size());
    for (const Sentence& other : prediction) mark_common(sentence, other, marks);
    for (size_t i = 0; i < sentence.size(); ++i) {
      const Word word = sentence[i];
      if (!marks[i] || left_in_prediction[word] == 0 || left_in_reference[word] == 0) continue;
      --left_in_prediction[word];
      --left_in_reference[word];
      ++hits;
    }
  }
  return hits;
}

constexpr RougeValue RougeScores::*kKinds[] = {&RougeScores::rouge1, &RougeScores::rouge2,
                                               &RougeScores::rougeL, &RougeScores::rougeLsum};
constexpr double RougeValue::*kValues[] = {&RougeValue::precision, &RougeValue::recall,
                                           &RougeValue::f};

}  // namespace

RougeScores rouge(std::string_view prediction, std::string_view reference, bool use_stemmer) {
  Words words(use_stemmer);
  const auto predicted_sentences = words.sentences(prediction);
  const auto expected_sentences = words.sentences(reference);
  const Sentence predicted = whole_text(predicted_sentences);
  const Sentence expected = whole_text(expected_sentences);
  const size_t hits = union_hits(predicted_sentences, expected_sentences,
                                 counts(predicted, words.size()), counts(expected, words.size()));
  RougeScores scores;
  scores.rouge1 = ngram_value(predicted, expected, 1);
  scores.rouge2 = ngram_value(predicted, expected, 2);
  scores.rougeL = value_of(common_length(predicted, expected), predicted.size(), expected.size());
  scores.rougeLsum = value_of(hits, predicted.size(), expected.size());
  return scores;
}

RougeScores mean_rouge(const std::vector<RougeScores>& scores) {
  RougeScores mean;
  for (const auto kind : kKinds) {
    for (const auto value : kValues) {
      double sum = 0;
      for (const RougeScores& one : scores) sum += one.*kind.*value;
      if (!scores.empty()) mean.*kind.*value = sum / static_cast<double>(scores.size());
    }
  }
  return mean;
}

}  // namespace quell
