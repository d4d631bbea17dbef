#include "tasks/data/text_windows.h"

#include <algorithm>

#include "framework/base/error.h"

namespace quell {
namespace {

std::vector<int64_t> part(std::span<const int64_t> ids, int64_t begin, int64_t end) {
  return {ids.begin() + begin, ids.begin() + end};
}

}  // namespace

std::vector<ScoredSequence> disjoint_windows(std::span<const int64_t> ids, int64_t length,
                                             std::optional<int64_t> start) {
  QUELL_ASSERT(length >= 2, "a token to read and one to predict");
  const int64_t step = start ? length - 1 : length;
  std::vector<ScoredSequence> windows;
  for (int64_t begin = 0; begin + step <= std::ssize(ids); begin += step) {
    windows.push_back({part(ids, begin, begin + step)});
    if (start) windows.back().ids.insert(windows.back().ids.begin(), *start);
  }
  return windows;
}

std::vector<ScoredSequence> strided_windows(std::span<const int64_t> ids, int64_t length,
                                            int64_t stride) {
  QUELL_ASSERT(length >= 2 && stride >= 1 && stride <= length, "windows that leave nothing out");
  const int64_t tokens = std::ssize(ids);
  std::vector<ScoredSequence> windows;
  for (int64_t begin = 0, predicted = 1; predicted < tokens; begin += stride) {
    const int64_t end = std::min(begin + length, tokens);
    // The first token of a window has nothing before it, even where no other window has it.
    const int64_t first = std::max(predicted, begin + 1);
    if (first < end) windows.push_back({part(ids, begin, end), first - begin});
    predicted = end;
  }
  return windows;
}

std::vector<ScoredSequence> rolling_windows(std::span<const int64_t> ids, int64_t length,
                                            int64_t prefix) {
  QUELL_ASSERT(length >= 1, "inputs of a token or more");
  const int64_t tokens = std::ssize(ids);
  std::vector<ScoredSequence> windows;
  if (tokens == 0) return windows;
  int64_t predicted = std::min(length, tokens);
  windows.push_back({part(ids, 0, predicted)});
  windows.back().ids.insert(windows.back().ids.begin(), prefix);
  while (predicted < tokens) {
    const int64_t end = std::min(predicted + length, tokens), begin = end - length - 1;
    windows.push_back({part(ids, begin, end), predicted - begin});
    predicted = end;
  }
  return windows;
}

}  // namespace quell
