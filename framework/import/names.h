// Names of the published code of "Outlier Suppression" and what quell calls the same.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

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

// Why a key of the published files means nothing to quell: `path` is "train.output_dir". Empty for
// a key that is not one of these.
std::string_view reason_without_effect(std::string_view path);
// The keys with such a reason that start with `prefix` ("train."), without it.
std::vector<std::string> keys_without_effect(std::string_view prefix);

}  // namespace quell::published
