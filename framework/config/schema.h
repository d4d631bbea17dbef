// Typed configuration. A struct describes its fields once:
//
//   struct Params {
//     double percentile = 99.99;
//     template <class V> static void describe(V& v) {
//       v("percentile", &Params::percentile, "share of |x| to keep, in percent",
//         in_range(50.0, 100.0));
//     }
//   };
//
// and from that follow strict reading, defaults, printing, JSON Schema and help. Members may be
// bool, int, int64_t, uint64_t, double, std::string, std::filesystem::path, vectors, optionals,
// maps from strings, described structs, enums (see EnumNames) and plug-in choices (registry.h).
// Modifiers are listed in rules.h. A static `void check(const Params&, Report&)` may look at
// several fields together.
#pragma once

#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "framework/config/node.h"
#include "framework/config/object.h"
#include "framework/config/problems.h"
#include "framework/config/rules.h"
#include "framework/config/value.h"

namespace quell {

// Names of the values of an enum:
//   template <> struct EnumNames<Padding> {
//     static constexpr std::pair<const char*, Padding> values[] = {{"drop", Padding::kDrop}, ...};
//   };
template <class Enum>
struct EnumNames;

// The `V` of describe().
template <class T>
class Describer {
 public:
  Describer(ObjectSchema& schema, const T& defaults) : schema_(schema), defaults_(defaults) {}

  template <class Class, class Member, class... Modifiers>
  void operator()(const char* name, Member Class::*member, const char* help,
                  const Modifiers&... modifiers) {
    const auto* begin = reinterpret_cast<const char*>(&defaults_);
    const auto* place = reinterpret_cast<const char*>(&(defaults_.*member));
    Field field{name, help, &value_type<Member>(), {}, place - begin};
    (modifiers(field.rules), ...);
    schema_.add(std::move(field));
  }

 private:
  ObjectSchema& schema_;
  const T& defaults_;
};

template <class T>
concept Described = requires(Describer<T>& describer) {
  T::describe(describer);
};

template <class T>
concept Checked = requires(const T& object, Report& report) {
  T::check(object, report);
};

// The description of T, built at the first call.
template <class T>
const ObjectSchema& schema_of() {
  static const ObjectSchema schema = [] {
    ObjectSchema::Check check = nullptr;
    if constexpr (Checked<T>) {
      check = [](const void* object, Report& report) {
        T::check(*static_cast<const T*>(object), report);
      };
    }
    ObjectSchema built([]() -> std::shared_ptr<void> { return std::make_shared<T>(); }, check);
    const T defaults{};
    Describer<T> describer(built, defaults);
    T::describe(describer);
    return built;
  }();
  return schema;
}

// Reads a T; everything wrong is added to `context.problems`.
template <class T>
T read_config(const ConfigNode& node, ReadContext& context, const std::string& path = "") {
  T object{};
  schema_of<T>().read(node, path, context, &object);
  return object;
}

// The object with every default written out.
template <class T>
ConfigNode to_node(const T& object) {
  return schema_of<T>().print(&object);
}

// For plug-ins without parameters.
struct NoParams {
  template <class V>
  static void describe(V&) {}
};

}  // namespace quell

#include "framework/config/value_types.h"
