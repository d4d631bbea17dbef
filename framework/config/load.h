// From a YAML file to one tree: syntax, `base:` files, `--set` options.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "framework/config/node.h"
#include "framework/config/problems.h"

namespace quell {

class ObjectSchema;

// Parses one YAML document. `file` is the name for messages. Throws ConfigError (`file:line:column:
// ...`) on bad syntax, aliases, merge keys, tags and keys that are not plain text; repeated keys
// are added to `problems`.
ConfigNode parse_yaml(std::string_view text, const std::string& file, Problems& problems);

// parse_yaml() of a file. An empty file is an empty map. Throws ConfigError when it cannot be read.
ConfigNode load_yaml(const std::filesystem::path& path, Problems& problems);

// Loads an experiment: the file, merged over the files that its top-level `base:` names (a string
// or a list, later ones win, relative to the file that says it), then the overrides.
//
// Maps are merged key by key; a sequence replaces a sequence, and a map whose `type:` differs
// replaces the other. Throws ConfigError on bad syntax or a base that is missing or cyclic.
//
// An override reads `a.b=value` or `quant.rules[0].bits=4`; the value is YAML. Its first key may
// also be one that is no top-level key of `schema` but exists in exactly one top-level section:
// `rules[0].bits=4` means `quant.rules[0].bits`. Bad overrides are added to `problems`.
ConfigNode load_config(const std::filesystem::path& path, const std::vector<std::string>& overrides,
                       const ObjectSchema& schema, Problems& problems);

// Applies one override to a tree, as load_config() does.
void apply_override(ConfigNode& root, const std::string& text, const ObjectSchema& schema,
                    Problems& problems);

// The same for a key and a value that are read already; problems are at the value's mark, and a
// relative path in it starts there.
void apply_setting(ConfigNode& root, const std::string& key, const ConfigNode& value,
                   const ObjectSchema& schema, Problems& problems);

}  // namespace quell
