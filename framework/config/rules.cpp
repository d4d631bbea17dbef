#include "framework/config/rules.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "framework/base/suggest.h"

namespace quell {

std::string FieldRules::text() const {
  if (!allowed.empty()) return fmt::format("one of {}", fmt::join(allowed, ", "));
  if (minimum && maximum) {
    return fmt::format("in {}{}, {}{}", open_minimum ? "(" : "[", *minimum, *maximum,
                       open_maximum ? ")" : "]");
  }
  if (minimum) return fmt::format("{} {}", open_minimum ? "greater than" : "at least", *minimum);
  if (maximum) return fmt::format("{} {}", open_maximum ? "less than" : "at most", *maximum);
  return non_empty ? "not empty" : "";
}

std::string FieldRules::problem_with(double value) const {
  if (!std::isfinite(value) && !non_finite) return "must be finite";
  const bool low = minimum && !(open_minimum ? value > *minimum : value >= *minimum);
  const bool high = maximum && !(open_maximum ? value < *maximum : value <= *maximum);
  return low || high ? "must be " + text() : "";
}

std::string FieldRules::problem_with(const std::string& value) const {
  if (non_empty && value.empty()) return "must not be empty";
  const bool known = std::find(allowed.begin(), allowed.end(), value) != allowed.end();
  if (allowed.empty() || known) return "";
  return fmt::format("unknown \"{}\"{}", value, did_you_mean(value, allowed));
}

FieldModifier in_range(double minimum, double maximum) {
  return [=](FieldRules& rules) {
    rules.minimum = minimum;
    rules.maximum = maximum;
  };
}

FieldModifier at_least(double minimum) {
  return [=](FieldRules& rules) { rules.minimum = minimum; };
}

FieldModifier at_most(double maximum) {
  return [=](FieldRules& rules) { rules.maximum = maximum; };
}

FieldModifier greater_than(double minimum) {
  return [=](FieldRules& rules) {
    rules.minimum = minimum;
    rules.open_minimum = true;
  };
}

FieldModifier less_than(double maximum) {
  return [=](FieldRules& rules) {
    rules.maximum = maximum;
    rules.open_maximum = true;
  };
}

FieldModifier one_of(std::initializer_list<const char*> names) {
  return [list = std::vector<std::string>(names.begin(), names.end())](FieldRules& rules) {
    rules.allowed = list;
  };
}

FieldModifier non_empty() {
  return [](FieldRules& rules) { rules.non_empty = true; };
}

FieldModifier required() {
  return [](FieldRules& rules) { rules.required = true; };
}

FieldModifier or_single() {
  return [](FieldRules& rules) { rules.or_single = true; };
}

FieldModifier allow_non_finite() {
  return [](FieldRules& rules) { rules.non_finite = true; };
}

FieldModifier existing_file() {
  return [](FieldRules& rules) { rules.existing = PathKind::kFile; };
}

FieldModifier existing_folder() {
  return [](FieldRules& rules) { rules.existing = PathKind::kFolder; };
}

FieldModifier existing_path() {
  return [](FieldRules& rules) { rules.existing = PathKind::kAny; };
}

}  // namespace quell
