// ROUGE of summaries, in the numbers of the package rouge-score.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace quell {

// Fractions in [0, 1].
struct RougeValue {
  double precision = 0;
  double recall = 0;
  double f = 0;  // harmonic mean of the two, 0 where both are
};

struct RougeScores {
  RougeValue rouge1;     // words
  RougeValue rouge2;     // pairs of neighbouring words
  RougeValue rougeL;     // longest common subsequence of the texts
  RougeValue rougeLsum;  // union of those between sentences
};

// Compares a summary with its reference (Lin 2004). Words are runs of a to z and 0 to 9 after
// lower-casing, so that accents split them. Every line is a sentence to rougeLsum. With
// `use_stemmer` words of more than three letters are stemmed (porter_stem()). A text without words
// scores 0.
RougeScores rouge(std::string_view prediction, std::string_view reference, bool use_stemmer);

// Each value's mean over the pairs; all 0 without any.
RougeScores mean_rouge(const std::vector<RougeScores>& scores);

}  // namespace quell
