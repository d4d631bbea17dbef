#include "framework/config/object.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/base/suggest.h"

namespace quell {

using Json = nlohmann::ordered_json;

void Report::problem(const std::string& key, const std::string& message) {
  const ConfigNode* written = node_.find(key);
  problems_.add(written ? written->mark : node_.mark, key.empty() ? path_ : join_path(path_, key),
                message);
}

ObjectSchema::ObjectSchema(Maker maker, Check check)
    : make_(maker), check_(check), defaults_(maker()) {}

void ObjectSchema::add(Field field) {
  QUELL_ASSERT(!find(field.name), "the key " + field.name + " is described twice");
  fields_.push_back(std::move(field));
}

const Field* ObjectSchema::find(const std::string& name) const {
  const auto found = std::find_if(fields_.begin(), fields_.end(),
                                  [&](const Field& field) { return field.name == name; });
  return found == fields_.end() ? nullptr : &*found;
}

std::vector<std::string> ObjectSchema::names() const {
  std::vector<std::string> names;
  for (const Field& field : fields_) names.push_back(field.name);
  return names;
}

void ObjectSchema::read(const ConfigNode& node, const std::string& path, ReadContext& context,
                        void* object) const {
  Problems& problems = context.problems;
  if (!node.is_map() && !node.is_null()) {
    problems.add(node.mark, path, "expected a map of settings, found " + node.found());
    return;
  }
  const size_t problems_before = problems.size();
  for (const ConfigNode& child : node.children) {
    if (find(child.key)) continue;
    problems.add(child.key_mark, join_path(path, child.key),
                 fields_.empty() ? "unknown key: there are no settings here"
                                 : "unknown key" + did_you_mean(child.key, names()));
  }
  ConfigNode missing;
  missing.mark = node.mark;
  for (const Field& field : fields_) {
    const ConfigNode* written = node.find(field.name);
    const std::string field_path = join_path(path, field.name);
    void* member = static_cast<char*>(object) + field.offset;
    const ReadRequest request{written ? *written : missing, field_path, field.rules, context};
    if (written) {
      field.type->read(request, member);
    } else if (field.rules.required) {
      request.problem(fmt::format("missing: {} ({})", field.help, field.type->name()));
    } else {
      field.type->read_default(request, member);
    }
  }
  if (check_ && problems.size() == problems_before) {
    Report report(node, path, problems);
    check_(object, report);
  }
}

ConfigNode ObjectSchema::print(const void* object) const {
  ConfigNode node = ConfigNode::map();
  for (const Field& field : fields_) {
    ConfigNode value = field.type->print(static_cast<const char*>(object) + field.offset);
    // An absent optional needs no line: it is absent again when this is read.
    if (value.is_null() && default_of(field).is_null()) continue;
    node.set(field.name, std::move(value));
  }
  return node;
}

ConfigNode ObjectSchema::default_of(const Field& field) const {
  return field.type->print(static_cast<const char*>(defaults_.get()) + field.offset);
}

Json ObjectSchema::json_schema(SchemaContext& context) const {
  Json properties = Json::object();
  Json required = Json::array();
  for (const Field& field : fields_) {
    Json property = field.type->json_schema(field.rules, context);
    property["description"] = field.help;
    if (field.rules.required) {
      required.push_back(field.name);
    } else if (!field.type->object()) {
      property["default"] = to_json(default_of(field));
    }
    properties[field.name] = std::move(property);
  }
  Json schema = {{"type", "object"}, {"properties", properties}};
  if (!required.empty()) schema["required"] = required;
  schema["additionalProperties"] = false;
  return schema;
}

std::string ObjectSchema::default_text(const Field& field) const {
  if (field.rules.required) return "(required)";
  const ConfigNode value = default_of(field);
  if (value.is_map() && !value.children.empty()) return "...";
  std::string text = to_yaml(value);
  text.pop_back();  // the line end
  return text.find('\n') == std::string::npos ? text : "...";
}

std::string ObjectSchema::type_text(const Field& field) const {
  const std::string rules = field.rules.text();
  return rules.empty() ? field.type->name() : field.type->name() + ", " + rules;
}

std::string ObjectSchema::help() const {
  size_t name_width = 0;
  size_t type_width = 0;
  for (const Field& field : fields_) {
    name_width = std::max(name_width, field.name.size() + default_text(field).size() + 3);
    type_width = std::max(type_width, type_text(field).size());
  }
  std::string text;
  for (const Field& field : fields_) {
    text +=
        fmt::format("{:{}}  {:{}}  {}\n", fmt::format("{} = {}", field.name, default_text(field)),
                    name_width, type_text(field), type_width, field.help);
  }
  return text;
}

void ObjectType::read(const ReadRequest& request, void* value) const {
  schema_.read(request.node, request.path, request.context, value);
}

void ObjectType::read_default(const ReadRequest& request, void* value) const {
  schema_.read(request.node, request.path, request.context, value);
}

ConfigNode ObjectType::print(const void* value) const { return schema_.print(value); }

Json ObjectType::json_schema(const FieldRules&, SchemaContext& context) const {
  return schema_.json_schema(context);
}

}  // namespace quell
