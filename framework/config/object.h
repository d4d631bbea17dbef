// The description of a struct: the one source of reading, printing, JSON Schema and help.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "framework/config/value.h"

namespace quell {

// One key of an object.
struct Field {
  std::string name;
  std::string help;
  const ValueType* type = nullptr;
  FieldRules rules;
  std::ptrdiff_t offset = 0;  // of the member in its object
};

// Handed to `static void check(const T&, Report&)` of a described struct, which looks at several
// keys together. It is called only when each key by itself is fine.
class Report {
 public:
  Report(const ConfigNode& node, const std::string& path, Problems& problems)
      : node_(node), path_(path), problems_(problems) {}
  // Reports a problem at the value of `key`, or at the object where the key is not written.
  // An empty key is the object itself.
  void problem(const std::string& key, const std::string& message);

 private:
  const ConfigNode& node_;
  const std::string& path_;
  Problems& problems_;
};

class ObjectSchema {
 public:
  using Maker = std::shared_ptr<void> (*)();
  using Check = void (*)(const void* object, Report& report);

  // `maker` builds an object of defaults.
  explicit ObjectSchema(Maker maker, Check check = nullptr);

  // Adds a field; names are unique and in snake_case.
  void add(Field field);

  const std::vector<Field>& fields() const { return fields_; }
  const Field* find(const std::string& name) const;
  std::vector<std::string> names() const;
  std::shared_ptr<void> make() const { return make_(); }

  // Reads a map over `object`: unknown keys, missing required keys and bad values become problems.
  // A null node means a section that is not written.
  void read(const ConfigNode& node, const std::string& path, ReadContext& context,
            void* object) const;
  // All fields in the order of the description.
  ConfigNode print(const void* object) const;
  // The default of a field.
  ConfigNode default_of(const Field& field) const;
  // For people: "99.99", "(required)", "..." for what takes several lines; "number in [50, 100]".
  std::string default_text(const Field& field) const;
  std::string type_text(const Field& field) const;
  // {"type": "object", "properties": ..., "required": ..., "additionalProperties": false}
  nlohmann::ordered_json json_schema(SchemaContext& context) const;
  // One line per key, in columns: `momentum = 0.9  number in (0, 1)  weight of the past`.
  std::string help() const;

 private:
  Maker make_;
  Check check_;
  std::shared_ptr<const void> defaults_;
  std::vector<Field> fields_;
};

// A described struct as the type of a field.
class ObjectType : public ValueType {
 public:
  explicit ObjectType(const ObjectSchema& schema) : schema_(schema) {}
  void read(const ReadRequest& request, void* value) const override;
  void read_default(const ReadRequest& request, void* value) const override;
  ConfigNode print(const void* value) const override;
  std::string name() const override { return "section"; }
  nlohmann::ordered_json json_schema(const FieldRules& rules,
                                     SchemaContext& context) const override;
  const ObjectSchema* object() const override { return &schema_; }

 private:
  const ObjectSchema& schema_;
};

}  // namespace quell
