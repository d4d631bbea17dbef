#include "framework/plugin/choice_type.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/base/suggest.h"
#include "framework/config/containers.h"
#include "framework/config/scalar.h"

namespace quell {

using Json = nlohmann::ordered_json;

const PluginEntry& ChoiceBase::entry() const {
  QUELL_ASSERT(entry_, fmt::format("the choice \"{}\" was never resolved", name_));
  return *entry_;
}

const void* ChoiceBase::params() const {
  entry();
  return params_.get();
}

struct ChoiceType::Written {
  ConfigNode name;
  ConfigNode params;
};

namespace {

// The one field that a list may stand for in place of the parameters. Null where there is none.
const Field* list_field(const PluginEntry& entry) {
  const auto& fields = entry.params().fields();
  const bool is_list = fields.size() == 1 && fields[0].rules.required &&
                       dynamic_cast<const SequenceType*>(fields[0].type) != nullptr;
  return is_list ? &fields[0] : nullptr;
}

}  // namespace

bool ChoiceType::split(const ReadRequest& request, Written& written) const {
  const ConfigNode& node = request.node;
  written.params.mark = node.mark;
  if (node.is_scalar()) {
    written.name = node;
    return true;
  }
  if (!node.is_map()) {
    request.problem(fmt::format("expected the name of the {}, or {{type: name, ...}}, found {}",
                                what_, node.found()));
    return false;
  }
  if (const ConfigNode* type = node.find("type")) {
    written.name = *type;
    written.params = node;
    written.params.remove("type");
    if (type->is_scalar()) return true;
    request.context.problems.add(type->mark, join_path(request.path, "type"),
                                 "expected a name, found " + type->found());
    return false;
  }
  if (syntax_ == Syntax::kStep && node.children.size() == 1) {
    const ConfigNode& only = node.children[0];
    written.name = ConfigNode::scalar(only.key);
    written.name.mark = only.key_mark;
    written.params = only;
    return true;
  }
  request.problem(fmt::format("missing \"type\", the name of the {}; known: {}", what_,
                              fmt::join(known(*request.context.plugins), ", ")));
  return false;
}

void ChoiceType::choose(const ReadRequest& request, const Written& written,
                        ChoiceBase& target) const {
  const std::string& name = written.name.text;
  const PluginEntry* entry = nullptr;
  for (const RegistryBase* registry : registries(*request.context.plugins)) {
    if (!entry) entry = registry->find_entry(name);
  }
  const bool has_type = request.node.find("type") != nullptr;
  if (!entry) {
    request.context.problems.add(written.name.mark,
                                 has_type ? join_path(request.path, "type") : request.path,
                                 fmt::format("unknown {} \"{}\"{}", what_, name,
                                             did_you_mean(name, known(*request.context.plugins))));
    return;
  }
  const bool named_by_key = request.node.is_map() && !has_type;
  const std::string path = named_by_key ? join_path(request.path, name) : request.path;
  std::shared_ptr<void> params = entry->params().make();
  const Field* list = named_by_key ? list_field(*entry) : nullptr;
  ConfigNode node = written.params;
  if (list != nullptr && node.is_sequence()) {
    node = ConfigNode::map();
    node.mark = written.params.mark;
    node.set(list->name, written.params);
  }
  entry->params().read(node, path, request.context, params.get());
  target.name_ = name;
  target.entry_ = entry;
  target.params_ = std::move(params);
}

void ChoiceType::read(const ReadRequest& request, void* value) const {
  QUELL_ASSERT(request.context.plugins, "reading a choice of a plug-in needs the plug-ins");
  Written written;
  if (split(request, written)) choose(request, written, choice(value));
}

void ChoiceType::read_default(const ReadRequest& request, void* value) const {
  QUELL_ASSERT(request.context.plugins, "reading a choice of a plug-in needs the plug-ins");
  ChoiceBase& target = choice(value);
  if (target.resolved() || target.name().empty()) return;
  Written written;
  written.name = ConfigNode::scalar(target.name());
  written.name.mark = request.node.mark;
  written.params.mark = request.node.mark;
  choose(request, written, target);
}

ConfigNode ChoiceType::print(const void* value) const {
  const ChoiceBase& chosen = choice(value);
  const ConfigNode name = string_scalar(chosen.name());
  if (!chosen.resolved()) return chosen.name().empty() ? ConfigNode() : name;
  ConfigNode params = chosen.entry().params().print(chosen.params());
  if (params.children.empty()) return name;
  ConfigNode node = ConfigNode::map();
  if (syntax_ == Syntax::kStep) {
    node.set(chosen.name(), std::move(params));
    return node;
  }
  node.set("type", name);
  for (const ConfigNode& param : params.children) node.set(param.key, param);
  return node;
}

std::vector<std::string> ChoiceType::known(const Plugins& plugins) const {
  std::vector<std::string> names;
  for (const RegistryBase* registry : registries(plugins)) {
    for (const std::string& name : registry->names()) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

namespace {

bool needs_params(const PluginEntry& entry) {
  const auto& fields = entry.params().fields();
  return std::any_of(fields.begin(), fields.end(),
                     [](const Field& field) { return field.rules.required; });
}

// {type: name, params...}
Json typed_schema(const PluginEntry& entry, SchemaContext& context) {
  Json schema = entry.params().json_schema(context);
  Json properties = {{"type", {{"const", entry.name()}}}};
  properties.update(schema["properties"]);
  schema["properties"] = std::move(properties);
  Json required = Json::array({"type"});
  if (schema.contains("required")) {
    for (const auto& name : schema["required"]) required.push_back(name);
  }
  schema["required"] = std::move(required);
  schema["description"] = entry.summary();
  return schema;
}

// {name: {params...}}, or `name:` with nothing after it, or a list
Json keyed_schema(const PluginEntry& entry, SchemaContext& context) {
  const Json params = entry.params().json_schema(context);
  Json forms = Json::array({params});
  if (const Field* list = list_field(entry)) {
    forms.push_back(params["properties"][list->name]);
  } else if (!needs_params(entry)) {
    forms.push_back({{"type", "null"}});
  }
  const Json value = {{"anyOf", forms}};
  return {{"type", "object"},
          {"description", entry.summary()},
          {"properties", {{entry.name(), value}}},
          {"required", Json::array({entry.name()})},
          {"additionalProperties", false}};
}

}  // namespace

Json ChoiceType::definition(SchemaContext& context) const {
  Json forms = Json::array();
  Json plain_names = Json::array();
  for (const RegistryBase* registry : registries(*context.plugins)) {
    for (const PluginEntry* entry : registry->entries()) {
      if (!needs_params(*entry)) plain_names.push_back(entry->name());
      forms.push_back(typed_schema(*entry, context));
      if (syntax_ == Syntax::kStep) forms.push_back(keyed_schema(*entry, context));
    }
  }
  if (!plain_names.empty()) forms.insert(forms.begin(), Json{{"enum", plain_names}});
  return {{"anyOf", forms}};
}

Json ChoiceType::json_schema(const FieldRules&, SchemaContext& context) const {
  if (!context.plugins || !context.definitions) {
    return {{"type", Json::array({"string", "object"})}};
  }
  if (!context.definitions->contains(what_)) {
    (*context.definitions)[what_] = Json::object();  // breaks the circle of nested choices
    (*context.definitions)[what_] = definition(context);
  }
  return {{"$ref", "#/$defs/" + what_}};
}

}  // namespace quell
