#include "framework/task/metric_names.h"

#include <algorithm>
#include <array>

namespace quell {
namespace {

template <size_t n>
bool contains_one(std::string_view metric, const std::array<std::string_view, n>& parts) {
  return std::any_of(parts.begin(), parts.end(), [&](std::string_view part) {
    return metric.find(part) != std::string_view::npos;
  });
}

}  // namespace

bool lower_is_better(std::string_view metric) {
  return contains_one(metric, std::array<std::string_view, 3>{"perplexity", "bits_per_", "loss"});
}

bool is_fraction(std::string_view metric) {
  return !lower_is_better(metric) &&
         !contains_one(metric, std::array<std::string_view, 2>{"gen_len", "thresh"});
}

}  // namespace quell
