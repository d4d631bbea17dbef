// The nine tasks of GLUE: columns, label names and metrics.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace quell {

// Column names are those of the official TSV files first, then those of the Hugging Face data sets.
struct GlueSpec {
  std::string name;
  std::vector<std::string> text_columns;
  std::vector<std::string> pair_columns;  // empty: single sentences
  std::vector<std::string> label_columns;
  std::vector<std::string> label_names;  // in the order of GLUE; empty: scores from 0 to 5
  std::vector<std::string> metrics;      // in the order shown
  // Columns of official files without a header line; empty where every file has one.
  std::vector<std::string> headerless_columns;
  // The official files hold rows with a wrong number of fields, which every reader leaves out.
  bool has_malformed_rows = false;

  bool is_regression() const { return label_names.empty(); }
  int64_t labels() const { return is_regression() ? 1 : static_cast<int64_t>(label_names.size()); }
};

const std::vector<std::string>& glue_names();

// Throws ConfigError with a suggestion for an unknown name.
const GlueSpec& glue_spec(const std::string& name);

}  // namespace quell
