#include "framework/quant/site.h"

#include <fmt/format.h>
#include <fnmatch.h>

namespace quell {
namespace {

// The pattern with its first {a,b} group replaced by each alternative, recursively.
void expand_alternatives(std::string_view pattern, std::vector<std::string>& expanded) {
  const size_t open = pattern.find('{');
  const size_t close = open == std::string_view::npos ? open : pattern.find('}', open);
  if (close == std::string_view::npos) {
    expanded.emplace_back(pattern);
    return;
  }
  std::string_view alternatives = pattern.substr(open + 1, close - open - 1);
  while (true) {
    const size_t comma = alternatives.find(',');
    const std::string_view head = pattern.substr(0, open);
    const std::string_view tail = pattern.substr(close + 1);
    expand_alternatives(fmt::format("{}{}{}", head, alternatives.substr(0, comma), tail), expanded);
    if (comma == std::string_view::npos) return;
    alternatives.remove_prefix(comma + 1);
  }
}

}  // namespace

const char* to_string(SiteKind kind) { return kind == SiteKind::kWeight ? "weight" : "activation"; }

std::string Site::key() const { return fmt::format("{}:{}", to_string(kind), name); }

bool matches(const Site& site, std::string_view pattern) {
  std::vector<std::string> expanded;
  expand_alternatives(pattern, expanded);
  const std::string key = site.key();
  const std::string alias_key =
      site.alias.empty() ? "" : fmt::format("{}:{}", to_string(site.kind), site.alias);
  for (const std::string& glob : expanded) {
    if (::fnmatch(glob.c_str(), key.c_str(), 0) == 0) return true;
    if (!alias_key.empty() && ::fnmatch(glob.c_str(), alias_key.c_str(), 0) == 0) return true;
  }
  return false;
}

}  // namespace quell
