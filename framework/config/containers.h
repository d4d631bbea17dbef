// ValueTypes of lists, maps, optional values and enumerations: thin shells around erased cores.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "framework/config/value.h"

namespace quell {

// A list; may be written as a single value under the rule or_single().
class SequenceType : public ValueType {
 public:
  explicit SequenceType(const ValueType& element) : element_(element) {}
  void read(const ReadRequest& request, void* value) const override;
  void read_default(const ReadRequest& request, void* value) const override;
  ConfigNode print(const void* value) const override;
  std::string name() const override;
  nlohmann::ordered_json json_schema(const FieldRules& rules,
                                     SchemaContext& context) const override;

 protected:
  virtual void resize(void* value, size_t size) const = 0;  // drops the old elements
  virtual size_t size(const void* value) const = 0;
  virtual const void* at(const void* value, size_t index) const = 0;

 private:
  const ValueType& element_;
};

// A map with free keys.
class MapType : public ValueType {
 public:
  explicit MapType(const ValueType& element) : element_(element) {}
  void read(const ReadRequest& request, void* value) const override;
  void read_default(const ReadRequest& request, void* value) const override;
  ConfigNode print(const void* value) const override;
  std::string name() const override;
  nlohmann::ordered_json json_schema(const FieldRules& rules,
                                     SchemaContext& context) const override;

 protected:
  virtual void clear(void* value) const = 0;
  virtual void* insert(void* value, const std::string& key) const = 0;
  virtual std::vector<std::pair<std::string, const void*>> entries(const void* value) const = 0;

 private:
  const ValueType& element_;
};

// A value or `null`.
class OptionalType : public ValueType {
 public:
  explicit OptionalType(const ValueType& element) : element_(element) {}
  void read(const ReadRequest& request, void* value) const override;
  void read_default(const ReadRequest& request, void* value) const override;
  ConfigNode print(const void* value) const override;
  std::string name() const override { return element_.name(); }
  nlohmann::ordered_json json_schema(const FieldRules& rules,
                                     SchemaContext& context) const override;
  const ObjectSchema* object() const override { return element_.object(); }

 protected:
  virtual void reset(void* value) const = 0;
  virtual void* emplace(void* value) const = 0;
  virtual const void* get(const void* value) const = 0;  // null without a value

 private:
  const ValueType& element_;
};

// One of a fixed set of names.
class EnumType : public ValueType {
 public:
  using Names = std::vector<std::pair<std::string, int64_t>>;
  explicit EnumType(Names names) : names_(std::move(names)) {}
  void read(const ReadRequest& request, void* value) const override;
  ConfigNode print(const void* value) const override;
  std::string name() const override;
  nlohmann::ordered_json json_schema(const FieldRules& rules,
                                     SchemaContext& context) const override;

 protected:
  virtual void set(void* value, int64_t number) const = 0;
  virtual int64_t get(const void* value) const = 0;

 private:
  std::vector<std::string> texts() const;
  Names names_;
};

}  // namespace quell
