#include "models/blocks/config_fields.h"

#include <fmt/format.h>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/io/checkpoint.h"
#include "framework/io/config_keys.h"

namespace quell {
namespace {

// No size of a model is larger, and no model has more layers. Keeps nonsense from filling the
// memory.
constexpr int64_t kLargest = 10'000'000, kMostLayers = 1'000;

}  // namespace

ConfigFields::ConfigFields(const Checkpoint& checkpoint, std::string_view family)
    : ConfigFields(checkpoint.config(), (checkpoint.folder() / "config.json").string(), "") {
  check_config_keys(checkpoint, family);
}

ConfigFields::ConfigFields(const nlohmann::json& fields, std::string file, std::string prefix)
    : fields_(&fields), file_(std::move(file)), prefix_(std::move(prefix)) {}

ConfigFields ConfigFields::section(const std::string& key) const {
  static const nlohmann::json none = nlohmann::json::object();
  const nlohmann::json* found = find(key);
  if (found != nullptr && !found->is_object()) refuse(key, "an object");
  return {found == nullptr ? none : *found, file_, prefix_ + key + "."};
}

bool ConfigFields::is_empty() const { return fields_->empty(); }

std::string ConfigFields::one_of(std::initializer_list<const char*> names) const {
  for (const char* name : names) {
    if (has(name)) return name;
  }
  return *(names.end() - 1);
}

const nlohmann::json* ConfigFields::find(const std::string& key) const {
  const auto found = fields_->find(key);
  return found == fields_->end() || found->is_null() ? nullptr : &*found;
}

void ConfigFields::missing(const std::string& key) const {
  throw DataError(fmt::format("{}: missing field \"{}{}\"", file_, prefix_, key));
}

void ConfigFields::refuse(const std::string& key, const std::string& expected) const {
  const nlohmann::json* found = find(key);
  throw DataError(fmt::format("{}: {}{}: expected {}, found {}", file_, prefix_, key, expected,
                              found == nullptr ? "nothing" : found->dump()));
}

int64_t ConfigFields::integer(const std::string& key, int64_t least, int64_t fallback) const {
  const nlohmann::json* found = find(key);
  if (found == nullptr) return fallback;
  const auto value = found->is_number_integer() ? found->get<int64_t>() : least - 1;
  if (value < least || value > kLargest) {
    refuse(key, fmt::format("an integer in [{}, {}]", least, kLargest));
  }
  return value;
}

int64_t ConfigFields::layers(const std::string& key, int64_t fallback) const {
  const int64_t count = integer(key, 1, fallback);
  if (count > kMostLayers) refuse(key, fmt::format("an integer in [1, {}]", kMostLayers));
  return count;
}

double ConfigFields::positive(const std::string& key, std::optional<double> fallback) const {
  const nlohmann::json* found = find(key);
  if (found == nullptr) {
    if (!fallback) missing(key);
    return *fallback;
  }
  if (!found->is_number() || !(found->get<double>() > 0)) refuse(key, "a positive number");
  return found->get<double>();
}

double ConfigFields::not_negative(const std::string& key, double fallback) const {
  const nlohmann::json* found = find(key);
  if (found == nullptr) return fallback;
  if (!found->is_number() || !(found->get<double>() >= 0)) {
    refuse(key, "a number that is not negative");
  }
  return found->get<double>();
}

double ConfigFields::share(const std::string& key, double fallback) const {
  const nlohmann::json* found = find(key);
  if (found == nullptr) return fallback;
  if (!found->is_number() || found->get<double>() < 0 || found->get<double>() >= 1) {
    refuse(key, "a number in [0, 1)");
  }
  return found->get<double>();
}

std::string ConfigFields::text(const std::string& key, const std::string& fallback) const {
  const nlohmann::json* found = find(key);
  if (found == nullptr) return fallback;
  if (!found->is_string()) refuse(key, "a text");
  return found->get<std::string>();
}

bool ConfigFields::flag(const std::string& key, bool fallback) const {
  const nlohmann::json* found = find(key);
  if (found == nullptr) return fallback;
  if (!found->is_boolean()) refuse(key, "true or false");
  return found->get<bool>();
}

Nonlinearity ConfigFields::nonlinearity(const std::string& key, const std::string& fallback) const {
  return nonlinearity_from_name(text(key, fallback), file_, prefix_ + key);
}

int64_t ConfigFields::pad_id() const {
  return std::max<int64_t>(integer("pad_token_id", /*least=*/-1, 0), 0);
}

void ConfigFields::check_divides(const std::string& key, int64_t count, int64_t whole) const {
  if (whole % count != 0) refuse(key, fmt::format("a divisor of {}", whole));
}

}  // namespace quell
