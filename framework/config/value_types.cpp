#include "framework/config/value_types.h"

#include <fmt/format.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "framework/config/scalar.h"

namespace quell {
namespace {

using Json = nlohmann::ordered_json;

// Whether the node is a scalar without quotes; otherwise a problem.
bool is_plain(const ReadRequest& request, const std::string& expected) {
  const ConfigNode& node = request.node;
  if (node.is_scalar() && !node.quoted) return true;
  request.problem(fmt::format("expected {}, found {}{}", expected, node.found(),
                              node.quoted ? " in quotes" : ""));
  return false;
}

// Checks the bounds of a number; a value outside is a problem.
bool is_allowed(const ReadRequest& request, double value) {
  const std::string problem = request.rules.problem_with(value);
  if (problem.empty()) return true;
  request.problem(fmt::format("{}, found {}", problem, request.node.text));
  return false;
}

// A bound as JSON, without a decimal point where it has no fraction.
Json bound(double value) {
  const auto whole = static_cast<int64_t>(value);
  return static_cast<double>(whole) == value ? Json(whole) : Json(value);
}

void add_bounds(const FieldRules& rules, Json& schema) {
  if (rules.minimum) {
    schema[rules.open_minimum ? "exclusiveMinimum" : "minimum"] = bound(*rules.minimum);
  }
  if (rules.maximum) {
    schema[rules.open_maximum ? "exclusiveMaximum" : "maximum"] = bound(*rules.maximum);
  }
}

class BoolType final : public ValueType {
 public:
  void read(const ReadRequest& request, void* value) const override {
    if (!is_plain(request, "true or false")) return;
    const std::string& text = request.node.text;
    if (text != "true" && text != "false") {
      return request.problem(fmt::format("expected true or false, found \"{}\"", text));
    }
    *static_cast<bool*>(value) = text == "true";
  }
  ConfigNode print(const void* value) const override {
    return ConfigNode::scalar(*static_cast<const bool*>(value) ? "true" : "false");
  }
  std::string name() const override { return "boolean"; }
  Json json_schema(const FieldRules&, SchemaContext&) const override {
    return {{"type", "boolean"}};
  }
};

template <class Integer>
class IntegerType final : public ValueType {
 public:
  using Limits = std::numeric_limits<Integer>;

  void read(const ReadRequest& request, void* value) const override {
    const std::string expected = Limits::is_signed ? "an integer" : "an integer of at least 0";
    if (!is_plain(request, expected)) return;
    const std::string& text = request.node.text;
    std::optional<Integer> number;
    if constexpr (Limits::is_signed) {
      const auto parsed = parse_signed(text);
      if (parsed && *parsed >= Limits::min() && *parsed <= Limits::max()) {
        number = static_cast<Integer>(*parsed);
      }
    } else {
      number = parse_unsigned(text);
    }
    if (!number) {
      return request.problem(fmt::format("expected {}, found \"{}\"", expected, text));
    }
    if (is_allowed(request, static_cast<double>(*number))) *static_cast<Integer*>(value) = *number;
  }
  ConfigNode print(const void* value) const override {
    return ConfigNode::scalar(fmt::format("{}", *static_cast<const Integer*>(value)));
  }
  std::string name() const override { return "integer"; }
  Json json_schema(const FieldRules& rules, SchemaContext&) const override {
    Json schema = {{"type", "integer"}};
    if (!Limits::is_signed) schema["minimum"] = 0;
    add_bounds(rules, schema);
    return schema;
  }
};

class DoubleType final : public ValueType {
 public:
  void read(const ReadRequest& request, void* value) const override {
    if (!is_plain(request, "a number")) return;
    const auto number = parse_double(request.node.text);
    if (!number) {
      return request.problem(fmt::format("expected a number, found \"{}\"", request.node.text));
    }
    if (is_allowed(request, *number)) *static_cast<double*>(value) = *number;
  }
  ConfigNode print(const void* value) const override {
    return ConfigNode::scalar(format_double(*static_cast<const double*>(value)));
  }
  std::string name() const override { return "number"; }
  Json json_schema(const FieldRules& rules, SchemaContext&) const override {
    Json schema = {{"type", "number"}};
    add_bounds(rules, schema);
    return schema;
  }
};

// Strings, and paths as a kind of string.
class TextType : public ValueType {
 public:
  void read(const ReadRequest& request, void* value) const override {
    const ConfigNode& node = request.node;
    if (!node.is_scalar()) {
      const char* hint = node.is_null() ? "; an empty string is written \"\"" : "";
      return request.problem(fmt::format("expected a {}, found {}{}", name(), node.found(), hint));
    }
    const std::string problem = request.rules.problem_with(node.text);
    if (!problem.empty()) return request.problem(problem);
    // An optional path that is empty is none: what a printed experiment says of it.
    const bool absent = node.text.empty() && !request.rules.required;
    if (!request.rules.existing || absent) return set(value, node.text);
    const auto place =
        resolve_path(node, request.path, *request.rules.existing, request.context.problems);
    if (place) set(value, place->string());
  }
  ConfigNode print(const void* value) const override { return string_scalar(get(value)); }
  Json json_schema(const FieldRules& rules, SchemaContext&) const override {
    if (!rules.allowed.empty()) return {{"type", "string"}, {"enum", rules.allowed}};
    // A number without quotes is read as the text that it is.
    Json schema = {{"type", {"string", "number"}}};
    if (rules.non_empty) schema["minLength"] = 1;
    return schema;
  }

 protected:
  virtual void set(void* value, const std::string& text) const = 0;
  virtual std::string get(const void* value) const = 0;
};

class StringType final : public TextType {
 public:
  std::string name() const override { return "string"; }

 protected:
  void set(void* value, const std::string& text) const override {
    *static_cast<std::string*>(value) = text;
  }
  std::string get(const void* value) const override {
    return *static_cast<const std::string*>(value);
  }
};

class PathType final : public TextType {
 public:
  std::string name() const override { return "path"; }

 protected:
  void set(void* value, const std::string& text) const override {
    *static_cast<std::filesystem::path*>(value) = text;
  }
  std::string get(const void* value) const override {
    return static_cast<const std::filesystem::path*>(value)->string();
  }
};

}  // namespace

void ValueType::read_default(const ReadRequest&, void*) const {}

const ValueType& ValueTypeOf<bool>::get() {
  static const BoolType type;
  return type;
}

const ValueType& ValueTypeOf<int>::get() {
  static const IntegerType<int> type;
  return type;
}

const ValueType& ValueTypeOf<int64_t>::get() {
  static const IntegerType<int64_t> type;
  return type;
}

const ValueType& ValueTypeOf<uint64_t>::get() {
  static const IntegerType<uint64_t> type;
  return type;
}

const ValueType& ValueTypeOf<double>::get() {
  static const DoubleType type;
  return type;
}

const ValueType& ValueTypeOf<std::string>::get() {
  static const StringType type;
  return type;
}

const ValueType& ValueTypeOf<std::filesystem::path>::get() {
  static const PathType type;
  return type;
}

}  // namespace quell
