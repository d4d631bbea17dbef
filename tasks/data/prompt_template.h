// Texts with the fields of a row in them: "Question: {goal}\nAnswer:".
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "framework/io/rows.h"

namespace quell {

// {name} stands for a field, {name.part} for one of an object; {{ and }} are braces.
class PromptTemplate {
 public:
  // Throws ConfigError naming `key` for a brace without its other half.
  PromptTemplate(const std::string& text, const std::string& key);

  // Texts stand as they are, numbers and truth values as JSON writes them. Throws DataError naming
  // the row's place, the template's key and what the row has.
  std::string text(const TableRow& row) const;
  // The value itself where the template is nothing but one field.
  const nlohmann::json* field(const TableRow& row) const;

 private:
  struct Part {
    std::string text;  // or the path of a field
    bool is_field = false;
  };

  const nlohmann::json& value(const TableRow& row, const std::string& path) const;

  std::string key_;
  std::vector<Part> parts_;
};

}  // namespace quell
