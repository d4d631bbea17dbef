// What a field of a description demands of its value, and the modifiers that say so.
#pragma once

#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "framework/config/paths.h"

namespace quell {

struct FieldRules {
  std::optional<double> minimum, maximum;  // bounds of numbers, also inside lists and maps
  bool open_minimum = false;               // the bound itself is excluded
  bool open_maximum = false;
  std::vector<std::string> allowed;  // strings
  bool non_empty = false;            // strings, lists and maps
  bool required = false;             // the key must be written
  bool or_single = false;            // a list of one may be written without brackets
  bool non_finite = false;           // .inf and .nan are welcome
  std::optional<PathKind> existing;  // the path is resolved and must exist

  // "in [2, 16]", "at least 1", "one of a, b"; empty without a rule.
  std::string text() const;
  // What is wrong with the value ("must be in [2, 16]"), or empty.
  std::string problem_with(double value) const;
  std::string problem_with(const std::string& value) const;
};

// One rule of a field, made by the functions below.
using FieldModifier = std::function<void(FieldRules&)>;

FieldModifier in_range(double minimum, double maximum);  // both included
FieldModifier at_least(double minimum);
FieldModifier at_most(double maximum);
FieldModifier greater_than(double minimum);
FieldModifier less_than(double maximum);
FieldModifier one_of(std::initializer_list<const char*> names);
FieldModifier non_empty();
FieldModifier required();
FieldModifier or_single();
FieldModifier allow_non_finite();
// For std::filesystem::path and std::string: see resolve_path(). An empty default is not checked.
FieldModifier existing_file();
FieldModifier existing_folder();
FieldModifier existing_path();

}  // namespace quell
