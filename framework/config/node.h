// The configuration as a tree of values that know where they were written.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace quell {

// Where a value was written. `line` and `column` count from 1; line 0 is the command line, where
// `file` holds the whole option, such as `--set quant.bits=4`.
struct Mark {
  std::string file;
  int line = 0;
  int column = 0;

  // `file:line:column`, or the option.
  std::string text() const;
  // The folder that relative paths start from: of the file; empty (the working directory) for an
  // option.
  std::filesystem::path folder() const;
};

// One value of a YAML file: nothing, a scalar, a sequence or a map. A plain value type: copying
// and merging keeps every mark, which yaml-cpp's own nodes do not.
struct ConfigNode {
  enum class Kind { kNull, kScalar, kSequence, kMap };

  Kind kind = Kind::kNull;
  std::string text;     // of a scalar, without quotes
  bool quoted = false;  // a scalar in quotes is a string, never a number or a bool
  Mark mark;
  std::string key;  // of an entry of a map
  Mark key_mark;
  std::vector<ConfigNode> children;  // of a sequence or a map, in the order of the file

  static ConfigNode scalar(std::string text, bool quoted = false);
  static ConfigNode sequence();
  static ConfigNode map();

  bool is_null() const { return kind == Kind::kNull; }
  bool is_scalar() const { return kind == Kind::kScalar; }
  bool is_sequence() const { return kind == Kind::kSequence; }
  bool is_map() const { return kind == Kind::kMap; }

  // The entry of that key, or null.
  const ConfigNode* find(std::string_view name) const;
  ConfigNode* find(std::string_view name);
  // Adds or replaces the entry `name`, whose key mark is kept where it exists already.
  ConfigNode& set(const std::string& name, ConfigNode value);
  void remove(std::string_view name);

  // For messages: `"minmax"`, `a list`, `a map`, `nothing`; long text is cut.
  std::string found() const;
};

// "a" + "b" = "a.b"; "" + "b" = "b".
std::string join_path(const std::string& path, std::string_view key);
// "a", 2 -> "a[2]".
std::string index_path(const std::string& path, size_t index);

// Block-style YAML, which parses back to equal nodes.
std::string to_yaml(const ConfigNode& node);
// Quoted scalars become strings; plain ones what YAML takes them for.
nlohmann::ordered_json to_json(const ConfigNode& node);

}  // namespace quell
