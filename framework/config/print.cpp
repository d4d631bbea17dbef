#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "framework/config/node.h"
#include "framework/config/scalar.h"

namespace quell {
namespace {

bool is_flat(const ConfigNode& node) {
  return std::none_of(node.children.begin(), node.children.end(),
                      [](const ConfigNode& child) { return !child.children.empty(); });
}

void emit(YAML::Emitter& out, const ConfigNode& node);

void emit_scalar(YAML::Emitter& out, const ConfigNode& node) {
  if (node.quoted) out << YAML::DoubleQuoted;
  out << node.text;
}

// Lists of scalars in one line; an empty map can only be written so.
void emit_sequence(YAML::Emitter& out, const ConfigNode& node) {
  if (is_flat(node)) out << YAML::Flow;
  out << YAML::BeginSeq;
  for (const ConfigNode& child : node.children) emit(out, child);
  out << YAML::EndSeq;
}

void emit_map(YAML::Emitter& out, const ConfigNode& node) {
  if (node.children.empty()) out << YAML::Flow;
  out << YAML::BeginMap;
  for (const ConfigNode& child : node.children) {
    out << YAML::Key;
    emit_scalar(out, string_scalar(child.key));
    out << YAML::Value;
    emit(out, child);
  }
  out << YAML::EndMap;
}

void emit(YAML::Emitter& out, const ConfigNode& node) {
  switch (node.kind) {
    case ConfigNode::Kind::kNull:
      out << YAML::Null;
      return;
    case ConfigNode::Kind::kScalar:
      return emit_scalar(out, node);
    case ConfigNode::Kind::kSequence:
      return emit_sequence(out, node);
    case ConfigNode::Kind::kMap:
      return emit_map(out, node);
  }
}

nlohmann::ordered_json scalar_to_json(const ConfigNode& node) {
  if (node.quoted) return node.text;
  if (node.text == "true") return true;
  if (node.text == "false") return false;
  if (const auto value = parse_signed(node.text)) return *value;
  if (const auto value = parse_unsigned(node.text)) return *value;
  const auto value = parse_double(node.text);
  if (value && std::isfinite(*value)) return *value;
  return node.text;  // JSON has no infinity: it stays ".inf"
}

}  // namespace

std::string to_yaml(const ConfigNode& node) {
  YAML::Emitter out;
  emit(out, node);
  return std::string(out.c_str(), out.size()) + "\n";
}

nlohmann::ordered_json to_json(const ConfigNode& node) {
  switch (node.kind) {
    case ConfigNode::Kind::kNull:
      return nullptr;
    case ConfigNode::Kind::kScalar:
      return scalar_to_json(node);
    case ConfigNode::Kind::kSequence: {
      auto list = nlohmann::ordered_json::array();
      for (const ConfigNode& child : node.children) list.push_back(to_json(child));
      return list;
    }
    case ConfigNode::Kind::kMap:
      break;
  }
  auto object = nlohmann::ordered_json::object();
  for (const ConfigNode& child : node.children) object[child.key] = to_json(child);
  return object;
}

}  // namespace quell
