// Names of the published code of "Outlier Suppression" and what quell calls the same.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "framework/import/published_file.h"

namespace quell::published {

struct Name {
  std::string_view published;
  std::string_view own;
};

std::span<const Name> observers();   // "AvgPruneMinMaxObserver" -> "prune_minmax"
std::span<const Name> quantizers();  // "LSQPlusFakeQuantize" -> "lsq_plus"

// What quell calls it; empty for an unknown name.
std::string own_name(std::span<const Name> names, std::string_view published);
std::vector<std::string> published_names(std::span<const Name> names);

// Keys of the published files that mean nothing to quell.
std::span<const WithoutEffect> keys_without_effect();

}  // namespace quell::published
