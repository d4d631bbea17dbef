// What the registry knows, for people and for tools: `quell list`, `quell describe`, `quell schema`
// and docs/plugins.md. All of it follows from the descriptions of the plug-ins.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "framework/plugin/registry.h"

namespace quell {

// Every plug-in with its summary, by kind. `kind` (observer or observers) shows one kind only.
// Throws ConfigError for an unknown kind.
std::string list_text(const Plugins& plugins, const std::string& kind = "");
// {"observer": [{"name", "summary", "source"}, ...], ...}
nlohmann::ordered_json list_json(const Plugins& plugins, const std::string& kind = "");

// One plug-in: summary, source, parameters, declared exceptions. Throws ConfigError for an unknown
// kind or name.
std::string describe_text(const Plugins& plugins, const std::string& kind, const std::string& name);
// {"kind", "name", "summary", "source", "parameters": [...], "exceptions": {law: reason},
//  "schema": JSON Schema of the parameters}
nlohmann::ordered_json describe_json(const Plugins& plugins, const std::string& kind,
                                     const std::string& name);

// The page docs/plugins.md.
std::string reference_markdown(const Plugins& plugins);

// JSON Schema (draft 2020-12) of an experiment file, `base:` included; every choice of a plug-in
// offers the plug-ins with their own parameters.
nlohmann::ordered_json experiment_schema_json(const ObjectSchema& experiment,
                                              const Plugins& plugins);

}  // namespace quell
