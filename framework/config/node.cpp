#include "framework/config/node.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace quell {

std::string Mark::text() const {
  return line == 0 ? file : fmt::format("{}:{}:{}", file, line, column);
}

std::filesystem::path Mark::folder() const {
  return line == 0 ? std::filesystem::path() : std::filesystem::path(file).parent_path();
}

ConfigNode ConfigNode::scalar(std::string text, bool quoted) {
  ConfigNode node;
  node.kind = Kind::kScalar;
  node.text = std::move(text);
  node.quoted = quoted;
  return node;
}

ConfigNode ConfigNode::sequence() {
  ConfigNode node;
  node.kind = Kind::kSequence;
  return node;
}

ConfigNode ConfigNode::map() {
  ConfigNode node;
  node.kind = Kind::kMap;
  return node;
}

const ConfigNode* ConfigNode::find(std::string_view name) const {
  if (!is_map()) return nullptr;
  const auto found = std::find_if(children.begin(), children.end(),
                                  [&](const ConfigNode& child) { return child.key == name; });
  return found == children.end() ? nullptr : &*found;
}

ConfigNode* ConfigNode::find(std::string_view name) {
  return const_cast<ConfigNode*>(std::as_const(*this).find(name));
}

ConfigNode& ConfigNode::set(const std::string& name, ConfigNode value) {
  value.key = name;
  if (ConfigNode* old = find(name)) {
    value.key_mark = old->key_mark;
    *old = std::move(value);
    return *old;
  }
  return children.emplace_back(std::move(value));
}

void ConfigNode::remove(std::string_view name) {
  std::erase_if(children, [&](const ConfigNode& child) { return child.key == name; });
}

std::string ConfigNode::found() const {
  constexpr size_t kLongest = 60;
  switch (kind) {
    case Kind::kNull:
      return "nothing";
    case Kind::kSequence:
      return "a list";
    case Kind::kMap:
      return "a map";
    case Kind::kScalar:
      break;
  }
  if (text.size() <= kLongest) return fmt::format("\"{}\"", text);
  size_t end = kLongest;
  while ((static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;  // not inside a character
  return fmt::format("\"{}...\"", text.substr(0, end));
}

std::string join_path(const std::string& path, std::string_view key) {
  return path.empty() ? std::string(key) : fmt::format("{}.{}", path, key);
}

std::string index_path(const std::string& path, size_t index) {
  return fmt::format("{}[{}]", path, index);
}

}  // namespace quell
