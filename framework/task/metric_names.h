// What the names of metrics say about their values.
#pragma once

#include <string_view>

namespace quell {

// A fraction of 1 or a correlation, shown in percent; others are perplexities, bits, losses,
// lengths and thresholds.
bool is_fraction(std::string_view metric);

// Perplexities, bits and losses.
bool lower_is_better(std::string_view metric);

}  // namespace quell
