// What several verbs print.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace quell {

// A text table: the first row is the header, columns are as wide as needed, numbers to the right.
std::string text_table(const std::vector<std::vector<std::string>>& rows);

// Prints JSON, indented, with a line end, on standard output.
void print_json(const nlohmann::ordered_json& json);

// The page docs/keys.md: what quell does with the keys of Hugging Face files.
std::string keys_reference();

// The value of a metric, in percent where it is a fraction: "83.94"; "n/a" for NaN.
std::string metric_text(std::string_view metric, double value);

}  // namespace quell
