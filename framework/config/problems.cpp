#include "framework/config/problems.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "framework/base/error.h"

namespace quell {

void Problems::add(const Mark& mark, const std::string& path, const std::string& message) {
  std::string text = mark.text();
  if (!path.empty()) text += ": " + path;
  problems_.push_back({mark, fmt::format("{}: {}", text, message)});
}

std::vector<std::string> Problems::lines() const {
  std::map<std::string, size_t> rank;  // of the files
  for (const Problem& problem : problems_) rank.emplace(problem.mark.file, rank.size());
  const auto position = [&](const Problem& problem) {
    return std::tuple(rank.at(problem.mark.file), problem.mark.line, problem.mark.column);
  };
  std::vector<Problem> sorted = problems_;
  std::stable_sort(sorted.begin(), sorted.end(),
                   [&](const Problem& a, const Problem& b) { return position(a) < position(b); });
  std::vector<std::string> lines;
  for (const Problem& problem : sorted) {
    if (lines.empty() || lines.back() != problem.text) lines.push_back(problem.text);
  }
  return lines;
}

void Problems::throw_if_any() const {
  if (!empty()) throw ConfigError(fmt::format("{}", fmt::join(lines(), "\n")));
}

}  // namespace quell
