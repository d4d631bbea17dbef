#include "framework/config/containers.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "framework/base/suggest.h"
#include "framework/config/scalar.h"

namespace quell {
namespace {

using Json = nlohmann::ordered_json;

bool is_refused_as_empty(const ReadRequest& request) {
  if (!request.rules.non_empty || !request.node.children.empty()) return false;
  request.problem("must not be empty");
  return true;
}

}  // namespace

void SequenceType::read(const ReadRequest& request, void* value) const {
  const ConfigNode& node = request.node;
  if (!node.is_sequence()) {
    if (!request.rules.or_single || node.is_null()) {
      return request.problem(fmt::format("expected a {}, found {}", name(), node.found()));
    }
    resize(value, 1);
    return element_.read(request, const_cast<void*>(at(value, 0)));
  }
  if (is_refused_as_empty(request)) return;
  resize(value, node.children.size());
  for (size_t i = 0; i < node.children.size(); ++i) {
    const std::string path = index_path(request.path, i);
    element_.read({node.children[i], path, request.rules, request.context},
                  const_cast<void*>(at(value, i)));
  }
}

void SequenceType::read_default(const ReadRequest& request, void* value) const {
  for (size_t i = 0; i < size(value); ++i) {
    const std::string path = index_path(request.path, i);
    element_.read_default({request.node, path, request.rules, request.context},
                          const_cast<void*>(at(value, i)));
  }
}

ConfigNode SequenceType::print(const void* value) const {
  ConfigNode node = ConfigNode::sequence();
  for (size_t i = 0; i < size(value); ++i) node.children.push_back(element_.print(at(value, i)));
  return node;
}

std::string SequenceType::name() const { return fmt::format("list of {}s", element_.name()); }

Json SequenceType::json_schema(const FieldRules& rules, SchemaContext& context) const {
  const Json element = element_.json_schema(rules, context);
  Json list = {{"type", "array"}, {"items", element}};
  if (rules.non_empty) list["minItems"] = 1;
  if (!rules.or_single) return list;
  return {{"anyOf", Json::array({element, list})}};
}

void MapType::read(const ReadRequest& request, void* value) const {
  const ConfigNode& node = request.node;
  if (!node.is_map()) {
    return request.problem(fmt::format("expected a {}, found {}", name(), node.found()));
  }
  if (is_refused_as_empty(request)) return;
  clear(value);
  for (const ConfigNode& child : node.children) {
    const std::string path = join_path(request.path, child.key);
    element_.read({child, path, request.rules, request.context}, insert(value, child.key));
  }
}

void MapType::read_default(const ReadRequest& request, void* value) const {
  for (const auto& [key, entry] : entries(value)) {
    const std::string path = join_path(request.path, key);
    element_.read_default({request.node, path, request.rules, request.context},
                          const_cast<void*>(entry));
  }
}

ConfigNode MapType::print(const void* value) const {
  ConfigNode node = ConfigNode::map();
  for (const auto& [key, entry] : entries(value)) node.set(key, element_.print(entry));
  return node;
}

std::string MapType::name() const { return fmt::format("map of {}s", element_.name()); }

Json MapType::json_schema(const FieldRules& rules, SchemaContext& context) const {
  Json map = {{"type", "object"}, {"additionalProperties", element_.json_schema(rules, context)}};
  if (rules.non_empty) map["minProperties"] = 1;
  return map;
}

void OptionalType::read(const ReadRequest& request, void* value) const {
  if (request.node.is_null()) return reset(value);
  element_.read(request, emplace(value));
}

void OptionalType::read_default(const ReadRequest& request, void* value) const {
  if (const void* element = get(value)) {
    element_.read_default(request, const_cast<void*>(element));
  }
}

ConfigNode OptionalType::print(const void* value) const {
  const void* element = get(value);
  return element ? element_.print(element) : ConfigNode();
}

Json OptionalType::json_schema(const FieldRules& rules, SchemaContext& context) const {
  return {{"anyOf", Json::array({element_.json_schema(rules, context), {{"type", "null"}}})}};
}

std::vector<std::string> EnumType::texts() const {
  std::vector<std::string> texts;
  for (const auto& [text, number] : names_) texts.push_back(text);
  return texts;
}

void EnumType::read(const ReadRequest& request, void* value) const {
  const ConfigNode& node = request.node;
  if (!node.is_scalar()) {
    return request.problem(fmt::format("expected {}, found {}", name(), node.found()));
  }
  for (const auto& [text, number] : names_) {
    if (text == node.text) return set(value, number);
  }
  request.problem(fmt::format("unknown \"{}\"{}", node.text, did_you_mean(node.text, texts())));
}

ConfigNode EnumType::print(const void* value) const {
  for (const auto& [text, number] : names_) {
    if (number == get(value)) return string_scalar(text);
  }
  return ConfigNode::scalar(fmt::format("{}", get(value)));
}

std::string EnumType::name() const {
  std::string name;
  for (const auto& [text, number] : names_) name += (name.empty() ? "" : " | ") + text;
  return name;
}

Json EnumType::json_schema(const FieldRules&, SchemaContext&) const {
  return {{"type", "string"}, {"enum", texts()}};
}

}  // namespace quell
