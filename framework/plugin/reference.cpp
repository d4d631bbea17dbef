#include "framework/plugin/reference.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/base/suggest.h"

namespace quell {
namespace {

using Json = nlohmann::ordered_json;

const RegistryBase& find_kind(const Plugins& plugins, const std::string& kind) {
  std::vector<std::string> known;
  for (const RegistryBase* registry : plugins.kinds()) {
    if (kind == registry->kind() || kind == registry->kind() + "s") return *registry;
    known.push_back(registry->kind());
  }
  throw ConfigError(
      fmt::format("unknown kind of plug-in \"{}\"{}", kind, did_you_mean(kind, known)));
}

std::vector<const RegistryBase*> chosen_kinds(const Plugins& plugins, const std::string& kind) {
  if (kind.empty()) return plugins.kinds();
  return {&find_kind(plugins, kind)};
}

Json parameters_json(const ObjectSchema& schema) {
  Json list = Json::array();
  for (const Field& field : schema.fields()) {
    Json parameter = {
        {"name", field.name}, {"type", field.type->name()}, {"required", field.rules.required}};
    if (!field.rules.required) parameter["default"] = to_json(schema.default_of(field));
    parameter["range"] = field.rules.text();
    parameter["help"] = field.help;
    list.push_back(std::move(parameter));
  }
  return list;
}

}  // namespace

std::string list_text(const Plugins& plugins, const std::string& kind) {
  std::string text;
  for (const RegistryBase* registry : chosen_kinds(plugins, kind)) {
    if (!text.empty()) text += "\n";
    text += registry->kind() + "s\n";
    size_t width = 0;
    for (const std::string& name : registry->names()) width = std::max(width, name.size());
    for (const PluginEntry* entry : registry->entries()) {
      text += fmt::format("  {:{}}  {}\n", entry->name(), width, entry->summary());
    }
    if (registry->entries().empty()) text += "  (none yet)\n";
  }
  return text;
}

Json list_json(const Plugins& plugins, const std::string& kind) {
  Json kinds = Json::object();
  for (const RegistryBase* registry : chosen_kinds(plugins, kind)) {
    Json entries = Json::array();
    for (const PluginEntry* entry : registry->entries()) {
      entries.push_back(
          {{"name", entry->name()}, {"summary", entry->summary()}, {"source", entry->source()}});
    }
    kinds[registry->kind()] = std::move(entries);
  }
  return kinds;
}

std::string describe_text(const Plugins& plugins, const std::string& kind,
                          const std::string& name) {
  const RegistryBase& registry = find_kind(plugins, kind);
  const PluginEntry& entry = registry.get_entry(name);
  std::string text = fmt::format("{} {}\n{}\nSource: {}\n", registry.kind(), entry.name(),
                                 entry.summary(), entry.source());
  text += entry.params().fields().empty() ? "\nNo parameters.\n"
                                          : "\nParameters\n" + entry.params().help();
  if (entry.exceptions().empty()) return text;
  text += "\nDoes not obey\n";
  for (const auto& [law, reason] : entry.exceptions()) {
    text += fmt::format("{}: {}\n", law, reason);
  }
  return text;
}

Json describe_json(const Plugins& plugins, const std::string& kind, const std::string& name) {
  const RegistryBase& registry = find_kind(plugins, kind);
  const PluginEntry& entry = registry.get_entry(name);
  Json definitions = Json::object();
  SchemaContext context{&plugins, &definitions};
  Json schema = entry.params().json_schema(context);
  if (!definitions.empty()) schema["$defs"] = std::move(definitions);
  return {{"kind", registry.kind()},
          {"name", entry.name()},
          {"summary", entry.summary()},
          {"source", entry.source()},
          {"parameters", parameters_json(entry.params())},
          {"exceptions", entry.exceptions()},
          {"schema", std::move(schema)}};
}

Json experiment_schema_json(const ObjectSchema& experiment, const Plugins& plugins) {
  Json definitions = Json::object();
  SchemaContext context{&plugins, &definitions};
  const Json body = experiment.json_schema(context);
  Json schema = {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
                 {"title", "quell experiment"}};
  schema.update(body);
  const Json file = {{"type", "string"}};
  schema["properties"]["base"] = {
      {"anyOf", Json::array({file, Json{{"type", "array"}, {"items", file}}})},
      {"description", "files that this one is laid over, relative to this file"}};
  if (schema.contains("required")) {  // a base may bring what is required
    schema["anyOf"] = Json::array(
        {Json{{"required", Json::array({"base"})}}, Json{{"required", schema["required"]}}});
    schema.erase("required");
  }
  if (!definitions.empty()) schema["$defs"] = std::move(definitions);
  return schema;
}

}  // namespace quell
