// Tokens and their ids.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace quell {

class Vocabulary {
 public:
  // Returns false, and changes nothing, when the token or the id is taken. Ids may leave gaps.
  bool add(std::string_view token, int32_t id);

  std::optional<int32_t> find(std::string_view token) const;
  // Absent for an id that no token has.
  std::optional<std::string_view> token(int64_t id) const;

  int64_t size() const { return static_cast<int64_t>(ids_.size()); }
  int64_t largest_id() const { return static_cast<int64_t>(tokens_.size()) - 1; }

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  std::vector<std::optional<std::string>> tokens_;  // by id
  std::unordered_map<std::string, int32_t, Hash, std::equal_to<>> ids_;
};

}  // namespace quell
