// Sites: every tensor that one of the papers quantizes has a name; nothing else happens there by
// default.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quell {

enum class SiteKind { kWeight, kActivation };

// Index into a model's list of sites.
using SiteId = int32_t;
inline constexpr SiteId kNoSite = -1;

struct Site {
  std::string name;  // "encoder.3.ffn.gelu"
  SiteKind kind = SiteKind::kActivation;
  std::string role;    // "gelu", "norm", "query", ...: the same in every layer
  int64_t layer = -1;  // -1 outside the layers
  int64_t heads = 0;   // of attention matrices ([heads * queries, keys]), else 0
  std::string alias;   // "encoder.last.ffn.gelu" in the last layer, else ""
  // What a paper's code calls the site: {"outlier_suppression" | "qualcomm" | ..., name}.
  std::vector<std::pair<std::string, std::string>> published_names;

  // "weight:encoder.3.ffn.output": what rules match.
  std::string key() const;
};

const char* to_string(SiteKind kind);

// Whether `pattern` names the site: a glob over key() or its alias, with `*` (anything), `?` (one
// character), `[0-3]` (a character class) and `{a,b}` (alternatives).
bool matches(const Site& site, std::string_view pattern);

}  // namespace quell
