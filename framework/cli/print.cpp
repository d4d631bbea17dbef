#include "framework/cli/print.h"

#include <fmt/format.h>
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "framework/task/metric_names.h"

namespace quell {
namespace {

bool is_number(const std::string& cell) {
  if (cell == "missing") return true;
  return !cell.empty() &&
         cell.find_first_not_of("0123456789.,+-x%einf/a []()o*±") == std::string::npos;
}

// Characters of a UTF-8 text.
size_t characters(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

}  // namespace

std::string text_table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  std::vector<bool> right;
  for (size_t row = 0; row < rows.size(); ++row) {
    widths.resize(std::max(widths.size(), rows[row].size()), 0);
    right.resize(widths.size(), true);
    for (size_t column = 0; column < rows[row].size(); ++column) {
      const std::string& cell = rows[row][column];
      widths[column] = std::max(widths[column], characters(cell));
      if (row > 0 && !cell.empty() && !is_number(cell)) right[column] = false;
    }
  }
  std::string text;
  for (size_t row = 0; row < rows.size(); ++row) {
    std::string line;
    for (size_t column = 0; column < rows[row].size(); ++column) {
      if (column > 0) line += "  ";
      line += right[column] ? fmt::format("{:>{}}", rows[row][column], widths[column])
                            : fmt::format("{:<{}}", rows[row][column], widths[column]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
    if (row > 0) continue;
    size_t total = 2 * (widths.size() - 1);
    for (const size_t width : widths) total += width;
    text += std::string(total, '-') + "\n";
  }
  return text;
}

void print_json(const nlohmann::ordered_json& json) { fmt::print("{}\n", json.dump(2)); }

std::string metric_text(std::string_view metric, double value) {
  if (std::isnan(value)) return "n/a";
  return fmt::format("{:.2f}", is_fraction(metric) && value <= 1 ? 100 * value : value);
}

}  // namespace quell
