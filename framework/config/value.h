// How one type of value is read from the configuration, printed and explained. Erased: containers
// and objects work on `void*`, so that a description costs little to compile.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "framework/config/node.h"
#include "framework/config/problems.h"
#include "framework/config/rules.h"

namespace quell {

class ObjectSchema;
struct Plugins;

// What reading needs besides the tree.
struct ReadContext {
  Problems& problems;
  const Plugins* plugins = nullptr;  // needed where a plug-in may be chosen
};

// What a JSON Schema needs besides the types.
struct SchemaContext {
  const Plugins* plugins = nullptr;               // without it, any plug-in is accepted
  nlohmann::ordered_json* definitions = nullptr;  // shared parts, for `$defs`
};

// One value about to be read.
struct ReadRequest {
  const ConfigNode& node;
  const std::string& path;  // for messages: `quant.rules[0].bits`
  const FieldRules& rules;
  ReadContext& context;

  // Adds a problem at the value.
  void problem(const std::string& message) const { context.problems.add(node.mark, path, message); }
};

class ValueType {
 public:
  virtual ~ValueType() = default;

  // Reads the node over `value`; what is wrong becomes a problem and leaves a valid value.
  virtual void read(const ReadRequest& request, void* value) const = 0;
  // Completes a default that nobody wrote. `request.node` is a null node at the parent's mark.
  virtual void read_default(const ReadRequest& request, void* value) const;
  // As a tree that reads back to an equal value.
  virtual ConfigNode print(const void* value) const = 0;
  // "integer", "list of strings".
  virtual std::string name() const = 0;
  virtual nlohmann::ordered_json json_schema(const FieldRules& rules,
                                             SchemaContext& context) const = 0;
  // The description of the fields, for types that are objects.
  virtual const ObjectSchema* object() const { return nullptr; }
};

// The ValueType of T. Specialise it to give a type a syntax of its own.
template <class T>
struct ValueTypeOf;

template <class T>
const ValueType& value_type() {
  return ValueTypeOf<T>::get();
}

}  // namespace quell
