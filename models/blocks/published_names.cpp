#include "models/blocks/published_names.h"

#include <fmt/format.h>
#include <map>

#include "framework/base/error.h"

namespace quell {
namespace {

constexpr std::string_view kLayer = "{}";

std::string with_layer(std::string_view text, const std::string& layer) {
  const size_t place = text.find(kLayer);
  if (place == std::string_view::npos) return std::string(text);
  return std::string(text.substr(0, place)) + layer +
         std::string(text.substr(place + kLayer.size()));
}

// The key of a site with {} in place of its layer.
std::string pattern_of(const Site& site) {
  std::string key = site.key();
  if (site.layer < 0) return key;
  const std::string layer = fmt::format(".{}.", site.layer);
  return key.replace(key.find(layer), layer.size(), ".{}.");
}

std::map<std::string_view, std::string_view> read(const PublishedTable& table) {
  std::map<std::string_view, std::string_view> names;
  for (std::string_view rest = table.lines; !rest.empty();) {
    const size_t end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    rest = end == std::string_view::npos ? "" : rest.substr(end + 1);
    const size_t tab = line.find('\t');
    QUELL_ASSERT(tab != std::string_view::npos, "a line of a table of published names has a tab");
    names[line.substr(0, tab)] = line.substr(tab + 1);
  }
  return names;
}

}  // namespace

void add_published_names(std::string_view family, std::span<Site> sites) {
  for (const PublishedTable& table : published_tables()) {
    if (table.family != family) continue;
    const auto names = read(table);
    for (Site& site : sites) {
      const auto found = names.find(pattern_of(site));
      if (found == names.end()) continue;
      site.published_names.emplace_back(table.paper,
                                        with_layer(found->second, std::to_string(site.layer)));
    }
  }
}

}  // namespace quell
