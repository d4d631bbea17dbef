#include <fmt/format.h>

#include "framework/plugin/reference.h"

namespace quell {
namespace {

// Text inside a cell of a table.
std::string cell(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '|') escaped += '\\';
    escaped += c == '\n' ? ' ' : c;
  }
  return escaped;
}

std::string parameter_table(const ObjectSchema& schema) {
  std::string text =
      "| parameter | type | default | allowed | meaning |\n| --- | --- | --- | --- | --- |\n";
  for (const Field& field : schema.fields()) {
    const std::string value =
        field.rules.required ? "required" : fmt::format("`{}`", schema.default_text(field));
    text += fmt::format("| `{}` | {} | {} | {} | {} |\n", field.name, cell(field.type->name()),
                        cell(value), cell(field.rules.text()), cell(field.help));
  }
  return text;
}

std::string entry_section(const PluginEntry& entry) {
  std::string text =
      fmt::format("\n### {}\n\n{}\n\nSource: {}\n", entry.name(), entry.summary(), entry.source());
  if (entry.params().fields().empty()) {
    text += "\nNo parameters.\n";
  } else {
    text += '\n';
    text += parameter_table(entry.params());
  }
  if (entry.exceptions().empty()) return text;
  text += "\nConformance laws that it does not obey:\n\n";
  for (const auto& [law, reason] : entry.exceptions()) {
    text += fmt::format("- `{}`: {}\n", law, reason);
  }
  return text;
}

}  // namespace

std::string reference_markdown(const Plugins& plugins) {
  std::string text =
      "# Plug-in reference\n\n"
      "Generated from the plug-ins' own descriptions; `quell describe KIND NAME` shows the same.\n"
      "The name of a plug-in is its `type:` in an experiment.\n";
  for (const RegistryBase* registry : plugins.kinds()) {
    text += fmt::format("\n## {}s\n", registry->kind());
    if (registry->entries().empty()) text += "\nNone yet.\n";
    for (const PluginEntry* entry : registry->entries()) text += entry_section(*entry);
  }
  return text;
}

}  // namespace quell
