#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <variant>

#include "framework/base/error.h"
#include "framework/base/suggest.h"
#include "framework/config/load.h"
#include "framework/config/object.h"
#include "framework/config/scalar.h"

namespace quell {
namespace {

// A key, or an index into a list.
using Step = std::variant<std::string, size_t>;

// `quant.rules[0].bits` -> quant, rules, 0, bits. Empty when the text is no path.
std::vector<Step> parse_path(const std::string& text) {
  std::vector<Step> steps;
  size_t at = 0;
  while (at <= text.size()) {
    const size_t end = std::min(text.find_first_of(".[", at), text.size());
    if (end == at) return {};
    steps.emplace_back(text.substr(at, end - at));
    at = end;
    while (at < text.size() && text[at] == '[') {
      const size_t close = text.find(']', at);
      if (close == std::string::npos) return {};
      const auto index = parse_unsigned(text.substr(at + 1, close - at - 1));
      if (!index) return {};
      steps.emplace_back(static_cast<size_t>(*index));
      at = close + 1;
    }
    if (at == text.size()) return steps;
    if (text[at] != '.') return {};
    ++at;
  }
  return {};
}

std::string path_text(const std::vector<Step>& steps, size_t count) {
  std::string path;
  for (size_t i = 0; i < count; ++i) {
    const auto* key = std::get_if<std::string>(&steps[i]);
    path = key ? join_path(path, *key) : index_path(path, std::get<size_t>(steps[i]));
  }
  return path;
}

void mark_all(ConfigNode& node, const Mark& mark) {
  node.mark = mark;
  node.key_mark = mark;
  for (ConfigNode& child : node.children) mark_all(child, mark);
}

class Override {
 public:
  Override(const std::string& text, const ObjectSchema& schema, Problems& problems)
      : mark_{fmt::format("--set {}", text), 0, 0}, schema_(schema), problems_(problems) {
    const size_t equals = std::min(text.find('='), text.size());
    path_ = parse_path(text.substr(0, equals));
    if (equals < text.size()) value_text_ = text.substr(equals + 1);
  }

  Override(const std::string& key, const ConfigNode& value, const ObjectSchema& schema,
           Problems& problems)
      : mark_(value.mark), schema_(schema), problems_(problems), path_(parse_path(key)) {
    value_text_ = value.is_scalar() ? value.text : to_json(value).dump();
    value_ = value;
  }

  void apply(ConfigNode& root) {
    if (path_.empty() || !value_text_) {
      return problem("", "expected a.b=value or rules[0].bits=value");
    }
    if (!value_) value_ = parse_value();
    if (!value_ || !expand_short_form(root)) return;
    if (ConfigNode* target = walk(root)) {
      ConfigNode replacement = *value_;
      replacement.key = target->key;
      replacement.key_mark = target->key_mark;
      *target = std::move(replacement);
    }
  }

 private:
  void problem(const std::string& path, const std::string& message) {
    problems_.add(mark_, path, message);
  }

  std::optional<ConfigNode> parse_value() {
    Problems repeated_keys;
    try {
      ConfigNode node = parse_yaml(*value_text_, "", repeated_keys);
      mark_all(node, mark_);
      repeated_keys.throw_if_any();
      return node;
    } catch (const ConfigError& error) {
      const std::string message = error.what();  // `:line:column: message`
      problem("", message.substr(message.find(": ") + 2));
      return {};
    }
  }

  // Prepends the section that is meant. False, with a problem, when that is not clear.
  bool expand_short_form(const ConfigNode& root) {
    const auto* first = std::get_if<std::string>(&path_[0]);
    if (!first) {
      problem("", "a path starts with a key");
      return false;
    }
    if (schema_.find(*first)) return true;
    std::vector<std::string> sections;
    std::vector<std::string> known = schema_.names();
    for (const Field& field : schema_.fields()) {
      const ObjectSchema* object = field.type->object();
      const ConfigNode* written = root.find(field.name);
      if ((object && object->find(*first)) || (written && written->find(*first))) {
        sections.push_back(field.name);
      }
      if (!object) continue;
      for (const std::string& name : object->names()) known.push_back(name);
    }
    if (sections.size() == 1) {
      path_.insert(path_.begin(), sections[0]);
      return true;
    }
    if (sections.empty()) {
      const bool near = closest_match(*first, known).has_value();
      problem(*first, "unknown key" + did_you_mean(*first, near ? known : schema_.names()));
      return false;
    }
    for (std::string& section : sections) {
      section = join_path(section, path_text(path_, path_.size()));
    }
    problem(*first, fmt::format("could mean {}: write one of them", fmt::join(sections, " or ")));
    return false;
  }

  // The node to replace, made where it does not exist yet. Null, with a problem, when there is no
  // way to it.
  ConfigNode* walk(ConfigNode& root) {
    ConfigNode* node = &root;
    for (size_t i = 0; i < path_.size() && node; ++i) {
      if (const auto* key = std::get_if<std::string>(&path_[i])) {
        node = enter_map(*node, *key, path_text(path_, i));
      } else {
        node = enter_list(*node, std::get<size_t>(path_[i]), path_text(path_, i));
      }
    }
    return node;
  }

  ConfigNode* enter_map(ConfigNode& node, const std::string& key, const std::string& path) {
    if (node.is_null()) {
      node.kind = ConfigNode::Kind::kMap;
      if (node.mark.file.empty()) node.mark = mark_;
    }
    if (node.is_scalar() && node.text == key) {  // a step of the pipeline without parameters
      node.kind = ConfigNode::Kind::kMap;
      node.text.clear();
    }
    if (!node.is_map()) {
      std::string message =
          fmt::format("is {}, not a map, so \"{}\" cannot be set in it", node.found(), key);
      if (node.is_scalar()) {  // the short form of a plug-in
        message += fmt::format("; set the whole value: --set '{}={{type: {}, {}: {}}}'", path,
                               node.text, key, *value_text_);
      }
      problem(path, message);
      return nullptr;
    }
    if (ConfigNode* child = node.find(key)) return child;
    ConfigNode& child = node.set(key, ConfigNode());
    child.mark = mark_;
    child.key_mark = mark_;
    return &child;
  }

  ConfigNode* enter_list(ConfigNode& node, size_t index, const std::string& path) {
    if (!node.is_sequence()) {
      problem(path,
              fmt::format("expected a list to take entry {} of, found {}", index, node.found()));
      return nullptr;
    }
    if (index < node.children.size()) return &node.children[index];
    problem(path, fmt::format("has {} entries, so there is no [{}]", node.children.size(), index));
    return nullptr;
  }

  Mark mark_;
  const ObjectSchema& schema_;
  Problems& problems_;
  std::vector<Step> path_;
  std::optional<std::string> value_text_;
  std::optional<ConfigNode> value_;
};

}  // namespace

void apply_override(ConfigNode& root, const std::string& text, const ObjectSchema& schema,
                    Problems& problems) {
  Override(text, schema, problems).apply(root);
}

void apply_setting(ConfigNode& root, const std::string& key, const ConfigNode& value,
                   const ObjectSchema& schema, Problems& problems) {
  Override(key, value, schema, problems).apply(root);
}

}  // namespace quell
