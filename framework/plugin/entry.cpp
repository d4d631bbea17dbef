#include "framework/plugin/entry.h"

#include <fmt/format.h>

#include <algorithm>

#include "framework/base/error.h"
#include "framework/base/suggest.h"

namespace quell {

PluginEntry::PluginEntry(std::string name, std::string summary, std::string source,
                         const ObjectSchema& params)
    : name_(std::move(name)),
      summary_(std::move(summary)),
      source_(std::move(source)),
      params_(params) {}

PluginEntry& PluginEntry::breaks(const std::string& law, const std::string& reason) {
  QUELL_ASSERT(!reason.empty(), fmt::format("{} breaks the law {} without a reason", name_, law));
  exceptions_[law] = reason;
  return *this;
}

std::vector<std::string> RegistryBase::names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) names.push_back(name);
  return names;
}

std::vector<const PluginEntry*> RegistryBase::entries() const {
  std::vector<const PluginEntry*> list;
  for (const auto& [name, entry] : entries_) list.push_back(entry.get());
  return list;
}

const PluginEntry* RegistryBase::find_entry(const std::string& name) const {
  const auto found = entries_.find(name);
  return found == entries_.end() ? nullptr : found->second.get();
}

const PluginEntry& RegistryBase::get_entry(const std::string& name) const {
  if (const PluginEntry* entry = find_entry(name)) return *entry;
  throw ConfigError(fmt::format("unknown {} \"{}\"{}", kind_, name, did_you_mean(name, names())));
}

PluginEntry& RegistryBase::insert(std::unique_ptr<PluginEntry> entry) {
  const std::string name = entry->name();
  const bool snake_case = !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
  QUELL_ASSERT(snake_case, fmt::format("{} \"{}\": a name is written in snake_case", kind_, name));
  QUELL_ASSERT(
      !entry->params().find("type"),
      fmt::format("{} {}: \"type\" is the name of the plug-in, not a parameter", kind_, name));
  const auto [place, is_new] = entries_.emplace(name, std::move(entry));
  QUELL_ASSERT(is_new, fmt::format("{} {} is registered twice", kind_, name));
  return *place->second;
}

}  // namespace quell
