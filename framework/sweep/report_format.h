// A report as text.
#pragma once

#include <string>
#include <vector>

#include "framework/sweep/report.h"

namespace quell {

// What stands behind a mean.
enum class Spread { kDeviation, kInterval, kNone };

// The table as plain cells, the first row is the header: for terminals.
std::vector<std::vector<std::string>> report_grid(const ReportTable& report, Spread spread);
std::string report_markdown(const ReportTable& report, Spread spread);
// A tabular for the package booktabs.
std::string report_latex(const ReportTable& report, Spread spread);
// One line per cell, all numbers in full: for other programs.
std::string report_csv(const ReportTable& report);
// What a reader has to know: what is averaged, what the marks mean.
std::vector<std::string> report_notes(const ReportTable& report, Spread spread);

}  // namespace quell
