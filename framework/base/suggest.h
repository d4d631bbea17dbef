// "Did you mean ...?" for names that people type.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace quell {

// The candidate nearest to `name` in edit distance (case-insensitive, a swap counts one), if near
// enough to be a likely misspelling.
std::optional<std::string> closest_match(std::string_view name,
                                         std::span<const std::string> candidates);

// `; did you mean "..."?` or, without a near candidate, `; known: a, b, c`.
std::string did_you_mean(std::string_view name, std::span<const std::string> candidates);

}  // namespace quell
