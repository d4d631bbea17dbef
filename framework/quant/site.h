// Sites: every tensor that one of the papers quantizes has a name; nothing else happens there by
// default.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quell {

enum class SiteKind { kWeight, kActivation };

// Index into a model's list of sites.
using SiteId = int32_t;
inline constexpr SiteId kNoSite = -1;

// What the rows of a tensor are. Without a decoder side of the batch, its targets are its tokens.
enum class RowsOf {
  kTokens,     // one for each token
  kTargets,    // one for each token of the decoder
  kSequences,  // one for each sequence
};

struct Site {
  std::string name;  // "encoder.3.ffn.gelu"
  SiteKind kind = SiteKind::kActivation;
  std::string role;                  // "gelu", "norm", "query", ...: the same in every layer
  int64_t layer = -1;                // -1 outside the layers
  int64_t heads = 0;                 // of attention matrices ([heads * queries, keys]), else 0
  RowsOf rows = RowsOf::kTokens;     // of an activation; of attention matrices the queries
  RowsOf columns = RowsOf::kTokens;  // of attention matrices: the keys
  std::string alias;                 // "encoder.last.ffn.gelu" in the last layer, else ""
  // What a paper's code calls the site: {"outlier_suppression" | "qualcomm" | ..., name}.
  std::vector<std::pair<std::string, std::string>> published_names;

  // "weight:encoder.3.ffn.output": what rules match.
  std::string key() const;
};

// Sites that follow one another.
struct SiteRange {
  SiteId first = 0;
  SiteId end = std::numeric_limits<SiteId>::max();  // behind the last one

  bool contains(SiteId id) const { return first <= id && id < end; }
};

// Some of a model's sites.
class SiteSet {
 public:
  bool empty() const { return members_.empty(); }
  bool contains(SiteId id) const {
    return static_cast<size_t>(id) < members_.size() && members_[static_cast<size_t>(id)];
  }
  void insert(SiteId id) {
    if (static_cast<size_t>(id) >= members_.size()) members_.resize(static_cast<size_t>(id) + 1);
    members_[static_cast<size_t>(id)] = true;
  }

 private:
  std::vector<bool> members_;  // by SiteId; those behind the end are none
};

const char* to_string(SiteKind kind);

// Whether `pattern` names the site: a glob over key() or its alias, with `*` (anything), `?` (one
// character), `[0-3]` (a character class) and `{a,b}` (alternatives; ConfigError: over 10,000).
bool matches(const Site& site, std::string_view pattern);
// Whether one of `patterns` does.
bool matches_any(const Site& site, std::span<const std::string> patterns);

}  // namespace quell
