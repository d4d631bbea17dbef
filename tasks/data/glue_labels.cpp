#include "tasks/data/glue_labels.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

#include "framework/base/error.h"
#include "tasks/data/glue_data.h"

namespace quell {
namespace {

constexpr const char* kConfig = "config.json of the model";

[[noreturn]] void refuse_table(const std::string& key) {
  throw DataError(
      fmt::format("{}: {} must give the classes 0, 1, 2, ... one name each", kConfig, key));
}

std::optional<int64_t> to_class(const std::string& text) {
  const bool digits =
      !text.empty() && text.size() < 6 &&
      std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  return digits ? std::optional<int64_t>(std::stoll(text)) : std::nullopt;
}

// A name, or the number of a class, which training on a table with numbers for labels leaves.
std::optional<std::string> to_name(const nlohmann::json& value, size_t classes) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "1" : "0";
  const double number = value.is_number() ? value.get<double>() : -1;
  if (number < 0 || number >= static_cast<double>(classes) || number != std::floor(number)) {
    return std::nullopt;
  }
  return std::to_string(static_cast<int64_t>(number));
}

// Class -> name from either table of a config.json; empty when there is none.
std::vector<std::string> names_in(const nlohmann::json& config) {
  std::map<int64_t, std::string> names;
  const bool by_id = config.contains("id2label") && config["id2label"].is_object();
  const std::string key = by_id ? "id2label" : "label2id";
  if (!config.contains(key) || !config[key].is_object()) return {};
  for (const auto& entry : config[key].items()) {
    const nlohmann::json& value = entry.value();
    if (!by_id && !value.is_number_integer()) refuse_table(key);
    const auto position = by_id ? to_class(entry.key()) : std::optional(value.get<int64_t>());
    const auto name =
        by_id ? to_name(value, config[key].size()) : std::optional<std::string>(entry.key());
    if (!name) refuse_table(key);
    if (!position || !names.emplace(*position, *name).second) refuse_table(key);
  }
  std::vector<std::string> list;
  for (const auto& [position, name] : names) {
    if (position != static_cast<int64_t>(list.size())) refuse_table(key);
    list.push_back(name);
  }
  return list;
}

// "LABEL_0", "LABEL_1", ... or "0", "1", ...
bool are_placeholders(const std::vector<std::string>& names) {
  for (size_t i = 0; i < names.size(); ++i) {
    const std::string number = std::to_string(i);
    if (names[i] != "LABEL_" + number && names[i] != number) return false;
  }
  return true;
}

std::string expected_text(const GlueSpec& spec) {
  return spec.is_regression() ? "a single output (regression)"
                              : fmt::format("{}", fmt::join(spec.label_names, ", "));
}

void check_count(const GlueSpec& spec, int64_t found, const std::string& names,
                 const std::string& origin) {
  if (found == spec.labels()) return;
  throw DataError(
      fmt::format("{}: {} labels ({}), but {} has {} ({}); choose a model that was "
                  "trained for this task",
                  origin, found, names, spec.name, spec.labels(), expected_text(spec)));
}

}  // namespace

LabelOrder glue_order(const GlueSpec& spec) {
  LabelOrder order(spec.labels());
  std::iota(order.begin(), order.end(), int64_t{0});
  return order;
}

LabelOrder label_order(const GlueSpec& spec, const std::vector<std::string>& names,
                       const std::string& origin) {
  const std::string found = fmt::format("{}", fmt::join(names, ", "));
  check_count(spec, static_cast<int64_t>(names.size()), found, origin);
  if (spec.is_regression() || are_placeholders(names)) return glue_order(spec);
  LabelOrder order;
  for (const std::string& name : names) {
    const auto position = find_label(spec, name);
    if (!position || std::find(order.begin(), order.end(), *position) != order.end()) {
      throw DataError(
          fmt::format("{}: labels {} do not match the labels of {}: {}; correct the "
                      "names there (LABEL_0, LABEL_1, ... mean the order of GLUE)",
                      origin, found, spec.name, expected_text(spec)));
    }
    order.push_back(*position);
  }
  return order;
}

LabelOrder label_order(const GlueSpec& spec, const nlohmann::json& config) {
  const std::vector<std::string> names = names_in(config);
  if (!names.empty()) return label_order(spec, names, fmt::format("{}: id2label", kConfig));
  // Hugging Face models without any statement have two classes.
  const int64_t count = config.value("num_labels", config.value("_num_labels", int64_t{2}));
  check_count(spec, count, "no names", fmt::format("{}: num_labels", kConfig));
  return glue_order(spec);
}

int64_t model_class(const LabelOrder& order, int64_t position) {
  const auto found = std::find(order.begin(), order.end(), position);
  QUELL_ASSERT(found != order.end(), "a label order is a permutation");
  return found - order.begin();
}

}  // namespace quell
