// Examples of a GLUE task from its files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tasks/data/glue_spec.h"

namespace quell {

struct GlueExample {
  int64_t index = 0;  // 0-based row of the file; header and blank lines do not count
  std::string text;
  std::optional<std::string> pair;
  std::optional<double> label;  // position in GlueSpec::label_names, or a score
};

struct GlueData {
  std::filesystem::path file;
  std::vector<GlueExample> examples;
  int64_t labelled = 0;        // examples with a label
  int64_t malformed_rows = 0;  // left out (GlueSpec::has_malformed_rows)
  int64_t first_malformed_line = 0;
};

// Reads TSV in the official layout (with a header line, or without one where GLUE has none), or
// JSON, CSV or Parquet with the column names of the Hugging Face data sets, a first shard with all
// that follow. A label of "-", "hidden" or -1, and outside of TSV one that is absent or null, means
// "unlabelled"; else a label is a name of GlueSpec::label_names (in any case), its position, or a
// score. `encoding` as in read_text(). Throws DataError naming file and line: missing columns, a
// wrong number of fields, an unknown label, no examples, or with `needs_labels` no label at all.
GlueData read_glue(const GlueSpec& spec, const std::filesystem::path& file, bool needs_labels,
                   const std::string& encoding = "");

// Position of a label name in GlueSpec::label_names: case, blanks and hyphens do not matter, and
// XNLI's "contradictory" is contradiction.
std::optional<int64_t> find_label(const GlueSpec& spec, const std::string& name);

// "negative (0), positive (1)", or the bounds of the score.
std::string known_labels(const GlueSpec& spec);

// The label written as text: name, position or score; absent when it is none of them.
std::optional<double> parse_label(const GlueSpec& spec, const std::string& text);

// A finite number that is the whole text.
std::optional<double> parse_score(const std::string& text);

}  // namespace quell
