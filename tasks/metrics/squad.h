// Exact match and F1 of answers, as the official scorers of SQuAD compute them (Rajpurkar et al.
// 2016 and 2018).
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace quell {

enum class SquadVersion { kV1, kV2 };

struct AnswerScore {
  double exact = 0;  // 0 or 1
  double f1 = 0;     // of the words, in [0, 1]
};

// UTF-8 in lower case, without ASCII punctuation and then without the words a, an and the; words
// are separated by one blank. Case, words and blanks are those of Unicode, as in Python.
std::string normalize_answer(std::string_view text);

// The best exact match and the best F1 over all reference answers; both 0 without any. The versions
// differ where a normalized answer is empty: F1 is then 0 in the first, and 1 in the second if both
// are empty.
AnswerScore score_answer(std::string_view answer, std::span<const std::string> references,
                         SquadVersion version);

// `text` without the blanks (of Python) at its beginning.
std::string_view without_left_blanks(std::string_view text);

}  // namespace quell
