#include "framework/sweep/report_format.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <cmath>

#include "framework/json/json.h"
#include "framework/sweep/sweep_file.h"

namespace quell {
namespace {

constexpr double kSignificant = 0.05;

// How one format writes the parts of a cell.
struct Style {
  const char* bold_begin;
  const char* bold_end;
  const char* plus_minus;
  const char* star;
  const char* missing;
};
constexpr Style kPlain{"", "", " ± ", "*", "missing"};
constexpr Style kMarkdown{"**", "**", " ± ", "\\*", "missing"};
constexpr Style kLatex{"\\textbf{", "}", " $\\pm$ ", "$^{*}$", "--"};

std::string number(double value, bool percent) {
  return std::isnan(value) ? "n/a" : fmt::format("{:.2f}", percent ? 100 * value : value);
}

std::string cell_text(const ReportCell& cell, Spread spread, const Style& style) {
  if (cell.expected == 0) return "";
  if (cell.values.empty()) return style.missing;
  std::string text = number(cell.mean, cell.percent);
  if (cell.best) text = style.bold_begin + text + style.bold_end;
  if (cell.p && *cell.p < kSignificant) text += style.star;
  if (cell.values.size() > 1 && spread == Spread::kDeviation) {
    text += style.plus_minus + number(cell.deviation, cell.percent);
  } else if (cell.values.size() > 1 && spread == Spread::kInterval) {
    text += fmt::format(" [{}, {}]", number(cell.interval.low, cell.percent),
                        number(cell.interval.high, cell.percent));
  }
  const auto found = static_cast<int64_t>(cell.values.size());
  if (found < cell.expected) text += fmt::format(" ({} of {})", found, cell.expected);
  return text;
}

// Values of one column as one text: "6" or "6, float".
std::string column_label(const ReportTable& report, const std::vector<std::string>& column) {
  std::vector<std::string> parts;
  for (const std::string& value : column) parts.push_back(short_value(value));
  if (!parts.empty()) return fmt::format("{}", fmt::join(parts, ", "));
  return report.metric.empty() ? "value" : report.metric;
}

// Row labels are left out where they repeat those above.
std::vector<std::string> row_labels(const ReportTable& report, size_t row) {
  std::vector<std::string> labels;
  bool same = row > 0;
  for (size_t i = 0; i < report.row_keys.size(); ++i) {
    same = same && report.rows[row][i] == report.rows[row - 1][i];
    labels.push_back(same ? "" : short_value(report.rows[row][i]));
  }
  return labels;
}

bool starts_group(const ReportTable& report, size_t row) {
  return row > 0 && report.row_keys.size() > 1 && report.rows[row][0] != report.rows[row - 1][0];
}

std::vector<std::vector<std::string>> grid(const ReportTable& report, Spread spread,
                                           const Style& style) {
  std::vector<std::vector<std::string>> rows(1);
  for (const std::string& key : report.row_keys) rows[0].push_back(short_key(key));
  for (const auto& column : report.columns) rows[0].push_back(column_label(report, column));
  for (size_t row = 0; row < report.rows.size(); ++row) {
    std::vector<std::string> line = row_labels(report, row);
    for (const ReportCell& cell : report.cells[row]) line.push_back(cell_text(cell, spread, style));
    rows.push_back(std::move(line));
  }
  return rows;
}

std::string latex_text(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c == '\\') {
      result += "\\textbackslash{}";
    } else if (c == '~' || c == '^') {
      result += fmt::format("\\{}{{}}", c);
    } else {
      if (std::string("_%&#${}").find(c) != std::string::npos) result += '\\';
      result += c;
    }
  }
  return result;
}

std::string markdown_text(const std::string& text) {
  std::string result;
  for (const char c : text) result += c == '|' ? "\\|" : std::string(1, c);
  return result;
}

std::string csv_text(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string result = "\"";
  for (const char c : text) result += c == '"' ? "\"\"" : std::string(1, c);
  return result + "\"";
}

std::string csv_number(double value) { return std::isnan(value) ? "" : format_json_number(value); }

std::string keys_text(const std::vector<std::string>& keys) {
  std::vector<std::string> names;
  for (const std::string& key : keys) names.push_back(short_key(key));
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

std::vector<std::vector<std::string>> report_grid(const ReportTable& report, Spread spread) {
  return grid(report, spread, kPlain);
}

std::string report_markdown(const ReportTable& report, Spread spread) {
  auto rows = grid(report, spread, kMarkdown);
  for (auto& row : rows) {
    for (std::string& cell : row) cell = markdown_text(cell);
  }
  std::string text = fmt::format("| {} |\n|", fmt::join(rows[0], " | "));
  for (size_t i = 0; i < rows[0].size(); ++i) {
    text += i < report.row_keys.size() ? "---|" : "---:|";
  }
  text += "\n";
  for (size_t row = 1; row < rows.size(); ++row) {
    text += fmt::format("| {} |\n", fmt::join(rows[row], " | "));
  }
  text += "\n";
  for (const std::string& note : report_notes(report, spread)) {
    text += markdown_text(note) + "\n";
  }
  return text;
}

std::string report_latex(const ReportTable& report, Spread spread) {
  const size_t labels = report.row_keys.size(), values = report.columns.size();
  std::string text;
  for (const std::string& note : report_notes(report, spread)) text += "% " + note + "\n";
  text += "% needs \\usepackage{booktabs}\n";
  text += fmt::format("\\begin{{tabular}}{{{}{}}}\n\\toprule\n", std::string(labels, 'l'),
                      std::string(values, 'r'));
  if (!report.column_keys.empty()) {
    text += fmt::format("{}\\multicolumn{{{}}}{{c}}{{{}}} \\\\\n\\cmidrule(lr){{{}-{}}}\n",
                        labels > 0 ? std::string(labels - 1, '&') + " & " : "", values,
                        latex_text(keys_text(report.column_keys)), labels + 1, labels + values);
  }
  auto rows = grid(report, spread, kLatex);
  for (size_t row = 0; row < rows.size(); ++row) {
    for (size_t i = 0; i < rows[row].size(); ++i) {
      if (row == 0 || i < labels) rows[row][i] = latex_text(rows[row][i]);
    }
    if (row > 0 && starts_group(report, row - 1)) text += "\\midrule\n";
    text += fmt::format("{} \\\\\n", fmt::join(rows[row], " & "));
    if (row == 0) text += "\\midrule\n";
  }
  return text + "\\bottomrule\n\\end{tabular}\n";
}

std::string report_csv(const ReportTable& report) {
  std::vector<std::string> header = report.row_keys;
  header.insert(header.end(), report.column_keys.begin(), report.column_keys.end());
  const bool with_stage = std::find(header.begin(), header.end(), "stage") == header.end();
  const bool with_metric = std::find(header.begin(), header.end(), "metric") == header.end();
  for (std::string& name : header) name = csv_text(name);
  std::string text = fmt::format("{}{}{}{}runs,expected,mean,sd,low,high,p\n",
                                 fmt::join(header, ","), header.empty() ? "" : ",",
                                 with_stage ? "stage," : "", with_metric ? "metric," : "");
  for (size_t row = 0; row < report.rows.size(); ++row) {
    for (size_t column = 0; column < report.columns.size(); ++column) {
      const ReportCell& cell = report.cells[row][column];
      if (cell.expected == 0) continue;
      for (const std::string& label : report.rows[row]) text += csv_text(label) + ",";
      for (const std::string& label : report.columns[column]) text += csv_text(label) + ",";
      if (with_stage) text += cell.stage + ",";
      if (with_metric) text += csv_text(cell.metric) + ",";
      text += fmt::format("{},{},{},{},{},{},{}\n", cell.values.size(), cell.expected,
                          csv_number(cell.mean), csv_number(cell.deviation),
                          csv_number(cell.interval.low), csv_number(cell.interval.high),
                          cell.p ? csv_number(*cell.p) : "");
    }
  }
  return text;
}

std::vector<std::string> report_notes(const ReportTable& report, Spread spread) {
  bool any_percent = false, any_missing = false, any_spread = false, any_test = false;
  for (const auto& row : report.cells) {
    for (const ReportCell& cell : row) {
      any_percent |= cell.percent && !cell.values.empty();
      any_missing |= static_cast<int64_t>(cell.values.size()) < cell.expected;
      any_spread |= cell.values.size() > 1;
      any_test |= cell.p.has_value();
    }
  }
  std::string first = report.metric.empty() ? "metrics" : report.metric;
  if (any_percent) first += " in percent";
  if (!report.stage.empty()) first += fmt::format(", stage {}", report.stage);
  if (!report.column_keys.empty()) {
    first += fmt::format(", by {}", keys_text(report.column_keys));
  }
  std::vector<std::string> notes = {first + "."};
  if (any_spread) {
    const char* behind = spread == Spread::kInterval ? " [95 % bootstrap interval]"
                         : spread == Spread::kNone   ? ""
                                                     : " ± standard deviation";
    notes.push_back(report.averaged.empty()
                        ? fmt::format("Mean{} over runs.", behind)
                        : fmt::format("Mean{} over {}.", behind, keys_text(report.averaged)));
  }
  if (any_test) {
    notes.push_back(
        fmt::format("*: other share of correct examples than {} (paired sign-flip test, "
                    "p < 0.05, not corrected for the number of tests).",
                    report.baseline));
  } else if (!report.baseline.empty()) {
    notes.push_back("No test against the baseline: predictions have no classes.");
  }
  if (any_missing) notes.push_back("Some cells of the sweep are not done.");
  return notes;
}

}  // namespace quell
