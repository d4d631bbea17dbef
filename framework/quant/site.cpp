#include "framework/quant/site.h"

#include <fmt/format.h>
#include <fnmatch.h>
#include <algorithm>

#include "framework/base/error.h"

namespace quell {
namespace {

constexpr size_t kMostAlternatives = 10'000;

// The patterns that one with {a,b} groups stands for.
std::vector<std::string> expand_alternatives(std::string_view pattern) {
  std::vector<std::string> expanded = {""};
  std::string_view rest = pattern;
  for (;;) {
    const size_t open = rest.find('{');
    const size_t close = open == std::string_view::npos ? open : rest.find('}', open);
    const bool is_last = close == std::string_view::npos;
    const std::string_view head = is_last ? rest : rest.substr(0, open);
    for (std::string& text : expanded) text += head;
    if (is_last) return expanded;
    std::vector<std::string> longer;
    std::string_view alternatives = rest.substr(open + 1, close - open - 1);
    for (bool more = true; more;) {
      const size_t comma = alternatives.find(',');
      more = comma != std::string_view::npos;
      if (longer.size() + expanded.size() > kMostAlternatives) {
        throw ConfigError(
            fmt::format("pattern \"{}\" stands for more than {} patterns; write several shorter "
                        "ones, or *",
                        pattern.substr(0, 100), kMostAlternatives));
      }
      for (const std::string& text : expanded) {
        longer.push_back(text + std::string(alternatives.substr(0, comma)));
      }
      if (more) alternatives.remove_prefix(comma + 1);
    }
    expanded = std::move(longer);
    rest.remove_prefix(close + 1);
  }
}

}  // namespace

const char* to_string(SiteKind kind) { return kind == SiteKind::kWeight ? "weight" : "activation"; }

std::string Site::key() const { return fmt::format("{}:{}", to_string(kind), name); }

bool matches(const Site& site, std::string_view pattern) {
  const std::string key = site.key();
  const std::string alias_key =
      site.alias.empty() ? "" : fmt::format("{}:{}", to_string(site.kind), site.alias);
  for (const std::string& glob : expand_alternatives(pattern)) {
    if (::fnmatch(glob.c_str(), key.c_str(), 0) == 0) return true;
    if (!alias_key.empty() && ::fnmatch(glob.c_str(), alias_key.c_str(), 0) == 0) return true;
  }
  return false;
}

bool matches_any(const Site& site, std::span<const std::string> patterns) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const std::string& pattern) { return matches(site, pattern); });
}

}  // namespace quell
