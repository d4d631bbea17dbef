#include "tasks/data/glue_data.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>

#include "framework/base/error.h"
#include "framework/io/rows.h"
#include "framework/io/table.h"
#include "framework/json/json.h"

namespace quell {
namespace fs = std::filesystem;
namespace {

using nlohmann::json;

constexpr double kLargestScore = 5.0;
// QQP has a handful among hundreds of thousands; more means that the file is something else.
constexpr double kToleratedMalformedShare = 0.01;

// What stands in place of a label where the annotators did not agree, or where it is kept secret.
bool is_no_label(const std::string& text) {
  return text == "-" || text == "hidden" || parse_score(text) == -1;
}

std::string normalized(std::string_view name) {
  std::string result(name);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (c == ' ' || c == '-') c = '_';
  }
  return result;
}

// "label" or "gold_label", for messages.
std::string quoted(const std::vector<std::string>& names) {
  return fmt::format("\"{}\"", fmt::join(names, "\" or \""));
}

bool contains(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string expected_columns(const GlueSpec& spec) {
  std::string text = quoted(spec.text_columns);
  if (!spec.pair_columns.empty()) text += ", " + quoted(spec.pair_columns);
  return text + ", " + quoted(spec.label_columns);
}

// Collects examples and says where they came from when something is wrong.
class Reader {
 public:
  Reader(const GlueSpec& spec, const fs::path& file, bool needs_labels)
      : spec_(spec), needs_labels_(needs_labels) {
    data_.file = file;
  }

  void read_tsv_row(int64_t line, std::span<const std::string_view> fields);
  void read_row(const TableRow& row);
  GlueData finish();

 private:
  static constexpr int64_t kAbsent = -1;

  std::string at(int64_t line) const { return fmt::format("{}:{}", data_.file.string(), line); }
  bool is_header(std::span<const std::string_view> fields) const;
  void set_columns(int64_t line, std::span<const std::string_view> fields);
  int64_t find_column(const std::vector<std::string>& names) const;
  int64_t require_column(int64_t line, const std::vector<std::string>& names) const;
  void skip_or_refuse(int64_t line, size_t found);
  std::optional<double> checked_label(const std::string& place, const std::string& text) const;
  std::optional<double> label_of(const TableRow& row) const;
  std::string text_of(const TableRow& row, const std::vector<std::string>& names) const;
  void add(GlueExample example);

  const GlueSpec& spec_;
  bool needs_labels_;
  GlueData data_;
  int64_t rows_ = 0;
  std::vector<std::string> columns_;  // of TSV, once known
  int64_t text_ = kAbsent;
  int64_t pair_ = kAbsent;
  int64_t label_ = kAbsent;
};

bool Reader::is_header(std::span<const std::string_view> fields) const {
  return std::any_of(fields.begin(), fields.end(), [&](std::string_view field) {
    return contains(spec_.text_columns, field) || contains(spec_.pair_columns, field);
  });
}

int64_t Reader::find_column(const std::vector<std::string>& names) const {
  for (const std::string& name : names) {
    const auto found = std::find(columns_.begin(), columns_.end(), name);
    if (found != columns_.end()) return found - columns_.begin();
  }
  return kAbsent;
}

int64_t Reader::require_column(int64_t line, const std::vector<std::string>& names) const {
  const int64_t column = find_column(names);
  if (column != kAbsent) return column;
  throw DataError(fmt::format("{}: no column {}; columns found: {}; expected for {}: {}", at(line),
                              quoted(names), fmt::join(columns_, ", "), spec_.name,
                              expected_columns(spec_)));
}

void Reader::set_columns(int64_t line, std::span<const std::string_view> fields) {
  columns_ = is_header(fields) || spec_.headerless_columns.empty()
                 ? std::vector<std::string>(fields.begin(), fields.end())
                 : spec_.headerless_columns;
  std::replace(columns_.begin(), columns_.end(), std::string("hypo"), std::string("hypothesis"));
  text_ = require_column(line, spec_.text_columns);
  if (!spec_.pair_columns.empty()) pair_ = require_column(line, spec_.pair_columns);
  label_ =
      needs_labels_ ? require_column(line, spec_.label_columns) : find_column(spec_.label_columns);
}

void Reader::skip_or_refuse(int64_t line, size_t found) {
  if (spec_.has_malformed_rows) {
    if (data_.malformed_rows++ == 0) data_.first_malformed_line = line;
    return;
  }
  throw DataError(fmt::format("{}: {} fields, expected {} ({}), separated by tabs and not quoted",
                              at(line), found, columns_.size(), fmt::join(columns_, ", ")));
}

std::optional<double> Reader::checked_label(const std::string& place,
                                            const std::string& text) const {
  if (is_no_label(text)) return std::nullopt;
  const std::optional<double> label = parse_label(spec_, text);
  if (label) return *label;
  throw DataError(fmt::format("{}: unknown label \"{}\"; expected for {}: {}", place, text,
                              spec_.name, known_labels(spec_)));
}

void Reader::read_tsv_row(int64_t line, std::span<const std::string_view> fields) {
  if (columns_.empty()) {
    set_columns(line, fields);
    if (is_header(fields)) return;
  }
  const int64_t index = rows_++;
  if (fields.size() != columns_.size()) return skip_or_refuse(line, fields.size());
  GlueExample example{index, std::string(fields[text_]), {}, {}};
  if (pair_ != kAbsent) example.pair = std::string(fields[pair_]);
  if (label_ != kAbsent) example.label = checked_label(at(line), std::string(fields[label_]));
  add(std::move(example));
}

std::string Reader::text_of(const TableRow& row, const std::vector<std::string>& names) const {
  for (const std::string& name : names) {
    const auto found = row.value.find(name);
    if (found == row.value.end()) continue;
    if (found->is_string()) return found->get<std::string>();
    throw DataError(
        fmt::format("{}: \"{}\" is {}, expected text", row.place, name, found->type_name()));
  }
  throw DataError(fmt::format("{}: no key {}; keys found: {}; expected for {}: {}",
                              row.columns_place, quoted(names), fmt::join(row.columns(), ", "),
                              spec_.name, expected_columns(spec_)));
}

std::optional<double> Reader::label_of(const TableRow& row) const {
  for (const std::string& name : spec_.label_columns) {
    const auto found = row.value.find(name);
    if (found == row.value.end()) continue;
    if (found->is_null()) return std::nullopt;
    const json value = found->is_boolean() ? json(found->get<bool>() ? 1 : 0) : *found;
    return checked_label(row.place, value.is_string() ? value.get<std::string>() : value.dump());
  }
  return std::nullopt;
}

void Reader::read_row(const TableRow& row) {
  if (!row.value.is_object()) {
    throw DataError(
        fmt::format("{}: {}, expected a JSON object", row.place, row.value.type_name()));
  }
  GlueExample example{rows_++, text_of(row, spec_.text_columns), {}, {}};
  if (!spec_.pair_columns.empty()) example.pair = text_of(row, spec_.pair_columns);
  example.label = label_of(row);
  add(std::move(example));
}

void Reader::add(GlueExample example) {
  if (example.label) ++data_.labelled;
  data_.examples.push_back(std::move(example));
}

GlueData Reader::finish() {
  const std::string file = data_.file.string();
  if (static_cast<double>(data_.malformed_rows) >
      std::max(1.0, kToleratedMalformedShare * static_cast<double>(rows_))) {
    throw DataError(fmt::format(
        "{}: {} of {} rows do not have {} fields ({}), first line {}; is this a file of {}?", file,
        data_.malformed_rows, rows_, columns_.size(), fmt::join(columns_, ", "),
        data_.first_malformed_line, spec_.name));
  }
  if (data_.examples.empty()) throw DataError(fmt::format("{}: holds no examples", file));
  if (needs_labels_ && data_.labelled == 0) {
    throw DataError(fmt::format("{}: no example has a label ({}); evaluation needs labels", file,
                                quoted(spec_.label_columns)));
  }
  return std::move(data_);
}

}  // namespace

std::optional<int64_t> find_label(const GlueSpec& spec, const std::string& name) {
  const auto& names = spec.label_names;
  std::string wanted = normalized(name);
  if (wanted == "contradictory") wanted = "contradiction";  // in the files of XNLI
  const auto found = std::find(names.begin(), names.end(), wanted);
  if (found == names.end()) return std::nullopt;
  return found - names.begin();
}

std::string known_labels(const GlueSpec& spec) {
  if (spec.is_regression()) return fmt::format("a number from 0 to {}", kLargestScore);
  std::vector<std::string> parts;
  for (size_t i = 0; i < spec.label_names.size(); ++i) {
    parts.push_back(fmt::format("{} ({})", spec.label_names[i], i));
  }
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::optional<double> parse_score(const std::string& text) {
  double value = 0.0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::optional<double> parse_label(const GlueSpec& spec, const std::string& text) {
  if (const auto position = find_label(spec, text)) return static_cast<double>(*position);
  const std::optional<double> number = parse_score(text);
  if (!number || *number < 0.0) return std::nullopt;
  if (spec.is_regression()) return *number <= kLargestScore ? number : std::nullopt;
  const bool is_position =
      *number == std::floor(*number) && *number < static_cast<double>(spec.label_names.size());
  return is_position ? number : std::nullopt;
}

GlueData read_glue(const GlueSpec& spec, const fs::path& file, bool needs_labels,
                   const std::string& encoding) {
  Reader reader(spec, file, needs_labels);
  const TableFormat format =
      file.extension() == ".jsonl" ? TableFormat::kJsonLines : table_format(file);
  if (format == TableFormat::kText) {
    read_tsv(
        file,
        [&](int64_t line, std::span<const std::string_view> fields) {
          reader.read_tsv_row(line, fields);
        },
        encoding);
  } else {
    read_rows(file, format, encoding, [&](const TableRow& row) { reader.read_row(row); });
  }
  return reader.finish();
}

}  // namespace quell
