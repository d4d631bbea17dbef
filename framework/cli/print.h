// What several verbs print.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace quell {

// A text table: the first row is the header, columns are as wide as needed, numbers to the right.
std::string text_table(const std::vector<std::vector<std::string>>& rows);

// Prints JSON, indented, with a line end, on standard output.
void print_json(const nlohmann::ordered_json& json);

// The page docs/keys.md: what quell does with the keys of Hugging Face files.
std::string keys_reference();

// A fraction in percent, "83.94"; "n/a" for NaN.
std::string percent(double fraction);

}  // namespace quell
