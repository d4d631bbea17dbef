// Which C++ type has which ValueType. Included by schema.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "framework/config/containers.h"
#include "framework/config/schema.h"

namespace quell {

#define QUELL_SCALAR_VALUE_TYPE(Type) \
  template <>                         \
  struct ValueTypeOf<Type> {          \
    static const ValueType& get();    \
  }
QUELL_SCALAR_VALUE_TYPE(bool);
QUELL_SCALAR_VALUE_TYPE(int);
QUELL_SCALAR_VALUE_TYPE(int64_t);
QUELL_SCALAR_VALUE_TYPE(uint64_t);
QUELL_SCALAR_VALUE_TYPE(double);
QUELL_SCALAR_VALUE_TYPE(std::string);
QUELL_SCALAR_VALUE_TYPE(std::filesystem::path);
#undef QUELL_SCALAR_VALUE_TYPE

template <class T>
struct ValueTypeOf<std::vector<T>> {
  static_assert(!std::is_same_v<T, bool>, "std::vector<bool> holds no bools; use std::vector<int>");
  struct Type final : SequenceType {
    Type() : SequenceType(value_type<T>()) {}
    static const std::vector<T>& list(const void* value) {
      return *static_cast<const std::vector<T>*>(value);
    }
    void resize(void* value, size_t count) const override {
      *static_cast<std::vector<T>*>(value) = std::vector<T>(count);
    }
    size_t size(const void* value) const override { return list(value).size(); }
    const void* at(const void* value, size_t index) const override { return &list(value)[index]; }
  };
  static const ValueType& get() {
    static const Type type;
    return type;
  }
};

template <class T>
struct ValueTypeOf<std::map<std::string, T>> {
  using Map = std::map<std::string, T>;
  struct Type final : MapType {
    Type() : MapType(value_type<T>()) {}
    void clear(void* value) const override { static_cast<Map*>(value)->clear(); }
    void* insert(void* value, const std::string& key) const override {
      return &(*static_cast<Map*>(value))[key];
    }
    std::vector<std::pair<std::string, const void*>> entries(const void* value) const override {
      std::vector<std::pair<std::string, const void*>> list;
      for (const auto& [key, entry] : *static_cast<const Map*>(value))
        list.emplace_back(key, &entry);
      return list;
    }
  };
  static const ValueType& get() {
    static const Type type;
    return type;
  }
};

template <class T>
struct ValueTypeOf<std::optional<T>> {
  struct Type final : OptionalType {
    Type() : OptionalType(value_type<T>()) {}
    void reset(void* value) const override { static_cast<std::optional<T>*>(value)->reset(); }
    void* emplace(void* value) const override {
      return &static_cast<std::optional<T>*>(value)->emplace();
    }
    const void* get(const void* value) const override {
      const auto& optional = *static_cast<const std::optional<T>*>(value);
      return optional ? &*optional : nullptr;
    }
  };
  static const ValueType& get() {
    static const Type type;
    return type;
  }
};

template <class T>
requires std::is_enum_v<T>
struct ValueTypeOf<T> {
  struct Type final : EnumType {
    using EnumType::EnumType;
    void set(void* value, int64_t number) const override {
      *static_cast<T*>(value) = static_cast<T>(number);
    }
    int64_t get(const void* value) const override {
      return static_cast<int64_t>(*static_cast<const T*>(value));
    }
  };
  static const ValueType& get() {
    static const Type type = [] {
      EnumType::Names names;
      for (const auto& [name, value] : EnumNames<T>::values) {
        names.emplace_back(name, static_cast<int64_t>(value));
      }
      return Type(names);
    }();
    return type;
  }
};

template <Described T>
struct ValueTypeOf<T> {
  static const ValueType& get() {
    static const ObjectType type(schema_of<T>());
    return type;
  }
};

}  // namespace quell
