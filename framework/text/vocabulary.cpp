#include "framework/text/vocabulary.h"

namespace quell {

bool Vocabulary::add(std::string_view token, int32_t id) {
  if (this->token(id) || find(token)) return false;
  ids_.emplace(token, id);
  const auto index = static_cast<size_t>(id);
  if (tokens_.size() <= index) tokens_.resize(index + 1);
  tokens_[index] = token;
  return true;
}

std::optional<int32_t> Vocabulary::find(std::string_view token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

std::optional<std::string_view> Vocabulary::token(int64_t id) const {
  if (id < 0 || id > largest_id()) return std::nullopt;
  return tokens_[static_cast<size_t>(id)];
}

}  // namespace quell
