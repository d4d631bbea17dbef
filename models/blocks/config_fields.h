// Fields of a Hugging Face config.json, read and checked.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "models/blocks/layers.h"

namespace quell {

class Checkpoint;

// All readers throw DataError naming the file and the field. A field that is null counts as absent;
// one that has no fallback must be there.
class ConfigFields {
 public:
  // Of a model of this family, whose keys are checked: see check_config_keys(). The checkpoint must
  // outlive it.
  ConfigFields(const Checkpoint& checkpoint, std::string_view family);
  // The fields of an object in it; none where it is absent.
  ConfigFields section(const std::string& key) const;

  bool is_empty() const;
  bool has(const std::string& key) const { return find(key) != nullptr; }
  // The first of these names that is there, else the last one.
  std::string one_of(std::initializer_list<const char*> names) const;

  // An integer from `least` to ten million. Fallbacks of models are those of the configuration
  // classes of Hugging Face transformers 5.
  int64_t integer(const std::string& key, int64_t least, int64_t fallback) const;
  // How many layers, at most a thousand.
  int64_t layers(const std::string& key, int64_t fallback) const;
  double positive(const std::string& key, std::optional<double> fallback = {}) const;
  double not_negative(const std::string& key, double fallback) const;
  // In [0, 1).
  double share(const std::string& key, double fallback) const;
  std::string text(const std::string& key, const std::string& fallback) const;
  bool flag(const std::string& key, bool fallback) const;
  Nonlinearity nonlinearity(const std::string& key, const std::string& fallback) const;
  // pad_token_id; 0 where there is none.
  int64_t pad_id() const;
  // Throws unless `count`, of the field `key`, divides `whole`.
  void check_divides(const std::string& key, int64_t count, int64_t whole) const;

  // Throws DataError: the field has another value than what was `expected`.
  [[noreturn]] void refuse(const std::string& key, const std::string& expected) const;

 private:
  ConfigFields(const nlohmann::json& fields, std::string file, std::string prefix);
  const nlohmann::json* find(const std::string& key) const;
  [[noreturn]] void missing(const std::string& key) const;

  const nlohmann::json* fields_;
  std::string file_, prefix_;  // "rope_parameters."
};

}  // namespace quell
