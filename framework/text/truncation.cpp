#include "framework/text/truncation.h"

#include <fmt/format.h>

#include <algorithm>

#include "framework/base/error.h"

namespace quell {
namespace {

// More of them come from two long texts that are both cut, each part with each.
constexpr size_t kMostWindows = 100000;

// Parts of at most `length` of `size` tokens, each sharing `stride` tokens with the one before.
std::vector<Span> parts(int32_t size, int64_t length, int64_t stride) {
  if (length >= size) return {{0, size}};
  if (length == 0) return {{0, 0}, {0, size}};
  if (stride >= length) {
    throw DataError(fmt::format(
        "truncation: an overlap (stride) of {} tokens is not smaller than the {} tokens of a text "
        "that fit into a window; use a smaller stride or a larger max_length",
        stride, length));
  }
  std::vector<Span> spans;
  for (int64_t begin = 0;; begin += length - stride) {
    const int64_t end = std::min<int64_t>(begin + length, size);
    spans.push_back({static_cast<int32_t>(begin), static_cast<int32_t>(end)});
    if (end == size) return spans;
  }
}

// Lengths that two texts are cut to: the longer one as far as needed, then both to equal halves.
std::pair<int64_t, int64_t> cut_longest_first(int64_t first, int64_t second, int64_t room) {
  int64_t shorter = std::min(first, second);
  int64_t longer = shorter > room ? shorter : std::max(shorter, room - shorter);
  if (shorter + longer > room) {
    shorter = room / 2;
    longer = shorter + room % 2;
  }
  if (first > second) return {longer, shorter};
  return {shorter, longer};
}

[[noreturn]] void refuse_too_short(int64_t size, int64_t excess, Truncation which) {
  throw DataError(fmt::format(
      "truncation: the sequence to truncate is too short: the {} text has {} tokens, {} tokens "
      "must go; use a larger max_length or strategy longest_first",
      which == Truncation::kOnlyFirst ? "first" : "second", size, excess));
}

std::pair<int64_t, int64_t> lengths_after_cut(int64_t first, std::optional<int64_t> second,
                                              int64_t room, Truncation strategy) {
  const int64_t excess = first + second.value_or(0) - room;
  if (room == 0) return {0, 0};
  if (excess <= 0) return {first, second.value_or(0)};
  if (strategy == Truncation::kLongestFirst) {
    if (!second) return {room, 0};
    return cut_longest_first(first, *second, room);
  }
  if (strategy == Truncation::kOnlyFirst) {
    if (first <= excess) refuse_too_short(first, excess, strategy);
    return {first - excess, second.value_or(0)};
  }
  if (!second) {
    throw DataError(
        "truncation: strategy only_second needs a pair, but there is one text only; "
        "use longest_first or only_first");
  }
  if (*second <= excess) refuse_too_short(*second, excess, strategy);
  return {first, *second - excess};
}

}  // namespace

std::vector<Window> truncate(int32_t first, std::optional<int32_t> second, int64_t room,
                             const TokenizerOptions& options) {
  const auto [first_length, second_length] =
      lengths_after_cut(first, second, room, options.truncation);
  const std::vector<Span> firsts = parts(first, first_length, options.stride);
  const std::vector<Span> seconds = parts(second.value_or(0), second_length, options.stride);
  std::vector<Window> windows = {{firsts[0], seconds[0]}};
  if (!options.overflow) return windows;
  if (firsts.size() > kMostWindows / seconds.size() && seconds.size() > 1) {
    throw DataError(fmt::format(
        "truncation: {} parts of the first text with {} of the second give more than {} windows; "
        "use a larger max_length, or strategy only_first or only_second",
        firsts.size(), seconds.size(), kMostWindows));
  }
  for (size_t i = 1; i < firsts.size(); ++i) {
    for (const Span& part : seconds) windows.push_back({firsts[i], part});
  }
  for (size_t j = 1; j < seconds.size(); ++j) windows.push_back({firsts[0], seconds[j]});
  return windows;
}

}  // namespace quell
