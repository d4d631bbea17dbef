#include "tasks/data/summary_data.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <charconv>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string_view>

#include "framework/base/error.h"
#include "framework/io/json.h"
#include "framework/io/table.h"

namespace quell {
namespace fs = std::filesystem;
namespace {

using nlohmann::json;

const std::vector<std::string> kTextColumns = {"document", "article", "text"};
const std::vector<std::string> kSummaryColumns = {"summary", "highlights", "y"};

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n\f\v") == std::string_view::npos;
}

// The fields of one row that matter; absent where the file has no such column.
struct Row {
  std::optional<std::string> article, summary, id;
};

// The first of `names` among the columns of the file.
std::optional<size_t> find_column(const std::vector<std::string>& names,
                                  std::span<const std::string> columns) {
  for (const std::string& name : names) {
    const auto found = std::find(columns.begin(), columns.end(), name);
    if (found != columns.end()) return found - columns.begin();
  }
  return std::nullopt;
}

// Collects rows and says where they came from when something is wrong.
class Reader {
 public:
  Reader(const fs::path& file, const SummaryRequest& request) : request_(request) {
    data_.file = file;
    text_names_ =
        request.text_column.empty() ? kTextColumns : std::vector<std::string>{request.text_column};
    summary_names_ = request.summary_column.empty()
                         ? kSummaryColumns
                         : std::vector<std::string>{request.summary_column};
  }

  void read_csv_row(int64_t line, std::span<const std::string> fields);
  void read_json_row(const std::string& place, const json& value);
  SummaryData finish();

 private:
  struct Columns {
    std::optional<size_t> text, summary, id;
  };

  std::string at(int64_t line) const { return fmt::format("{}:{}", data_.file.string(), line); }
  Columns find_columns(const std::string& place, std::span<const std::string> names) const;
  void add(const std::string& place, Row row);

  const SummaryRequest& request_;
  SummaryData data_;
  std::vector<std::string> text_names_, summary_names_;
  std::vector<std::string> header_;  // of CSV, once known
  Columns columns_;
  int64_t rows_ = 0;
  int64_t left_out_ = 0;
  std::string first_left_out_;
  std::map<std::string, std::string> places_;  // of each id
  int64_t repeated_ids_ = 0;
  std::string first_repetition_;
};

Reader::Columns Reader::find_columns(const std::string& place,
                                     std::span<const std::string> names) const {
  const auto find = [&](const std::vector<std::string>& wanted, bool needed, const char* what,
                        const char* key) {
    const auto column = find_column(wanted, names);
    if (column || !needed) return column;
    throw DataError(
        fmt::format("{}: no column \"{}\" for {}; columns found: {}; name it with "
                    "task.{}",
                    place, fmt::join(wanted, "\" or \""), what, fmt::join(names, ", "), key));
  };
  return {find(text_names_, request_.needs_articles, "the articles", "text_column"),
          find(summary_names_, request_.needs_summaries, "the summaries", "summary_column"),
          find_column({"id"}, names)};
}

void Reader::read_csv_row(int64_t line, std::span<const std::string> fields) {
  if (header_.empty()) {
    header_.assign(fields.begin(), fields.end());
    columns_ = find_columns(at(line), header_);
    return;
  }
  if (fields.size() != header_.size()) {
    throw DataError(
        fmt::format("{}: {} fields, but the header has {}; fields with commas or line "
                    "ends need quotation marks",
                    at(line), fields.size(), header_.size()));
  }
  const auto field = [&](const std::optional<size_t>& column) {
    return column ? std::optional(fields[*column]) : std::nullopt;
  };
  add(at(line), {field(columns_.text), field(columns_.summary), field(columns_.id)});
}

void Reader::read_json_row(const std::string& place, const json& value) {
  if (!value.is_object()) throw DataError(place + ": expected a JSON object");
  std::vector<std::string> names;
  for (const auto& entry : value.items()) names.push_back(entry.key());
  const Columns columns = find_columns(place, names);
  const auto field = [&](const std::optional<size_t>& column,
                         bool numbers) -> std::optional<std::string> {
    if (!column) return std::nullopt;
    const json& found = value[names[*column]];
    if (found.is_string()) return found.get<std::string>();
    if (found.is_null()) return "";
    if (numbers && found.is_number()) return found.dump();
    throw DataError(fmt::format("{}: \"{}\" must be a text, found {}", place, names[*column],
                                found.type_name()));
  };
  add(place, {field(columns.text, false), field(columns.summary, false), field(columns.id, true)});
}

void Reader::add(const std::string& place, Row row) {
  const int64_t index = rows_++;
  if (!request_.rows.contains(index)) return;
  const bool empty = (row.article && is_blank(*row.article)) ||
                     (request_.needs_summaries && is_blank(*row.summary));
  if (empty && !request_.keeps_incomplete) {
    if (left_out_++ == 0) first_left_out_ = place;
    return;
  }
  const std::string id = row.id.value_or("");
  if (!id.empty()) {
    const auto [first, added] = places_.emplace(id, place);
    if (!added && repeated_ids_++ == 0) {
      first_repetition_ = fmt::format("\"{}\" at {} and {}", id, first->second, place);
    }
  }
  data_.examples.push_back({index, id, row.article.value_or(""), row.summary.value_or(""), empty});
}

SummaryData Reader::finish() {
  const std::string file = data_.file.string();
  request_.rows.check(rows_, data_.file);
  if (data_.examples.empty()) {
    throw DataError(left_out_ == 0 ? fmt::format("{}: holds no examples", file)
                                   : fmt::format("{}: every article or summary is empty", file));
  }
  if (left_out_ > 0) {
    data_.notes.push_back(
        fmt::format("{}: left out {} rows with an empty article or summary, "
                    "first {}",
                    file, left_out_, first_left_out_));
  }
  if (repeated_ids_ > 0) {
    data_.notes.push_back(
        fmt::format("{}: {} ids appear more than once, first {}; rows count as "
                    "different examples",
                    file, repeated_ids_, first_repetition_));
  }
  return std::move(data_);
}

enum class Format { kJsonLines, kJsonList, kCsv };

Format format_of(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::string start(4, '\0');
  stream.read(start.data(), static_cast<std::streamsize>(start.size()));
  const std::string ending = file.extension().string();
  if (ending == ".parquet" || start == "PAR1") {
    throw DataError(
        fmt::format("{}: Parquet is not read; convert it with Python: "
                    "pandas.read_parquet(\"{}\").to_json(\"{}\", orient=\"records\", "
                    "lines=True)",
                    file.string(), file.filename().string(),
                    fs::path(file).replace_extension(".jsonl").filename().string()));
  }
  if (ending == ".csv") return Format::kCsv;
  if (start.starts_with("\xEF\xBB\xBF")) start.erase(0, 3);
  const size_t first = start.find_first_not_of(" \t\r\n");
  if (first != std::string::npos && start[first] == '[') return Format::kJsonList;
  return is_jsonl(file) ? Format::kJsonLines : Format::kCsv;
}

}  // namespace

RowRanges::RowRanges(const std::vector<std::string>& ranges, const std::string& key) : key_(key) {
  for (const std::string& range : ranges) {
    const char* end = range.data() + range.size();
    int64_t first = 0;
    const auto start = std::from_chars(range.data(), end, first);
    int64_t last = first;
    auto stop = start;
    if (start.ec == std::errc() && start.ptr != end && *start.ptr == '-') {
      stop = std::from_chars(start.ptr + 1, end, last);
    }
    if (stop.ec != std::errc() || stop.ptr != end || first < 0 || last < first) {
      throw ConfigError(
          fmt::format("{}: \"{}\" is no range of rows; expected e.g. 900-999", key, range));
    }
    ranges_.emplace_back(first, last);
  }
}

bool RowRanges::contains(int64_t row) const {
  return ranges_.empty() || std::any_of(ranges_.begin(), ranges_.end(), [&](const auto& range) {
           return row >= range.first && row <= range.second;
         });
}

void RowRanges::check(int64_t rows, const fs::path& file) const {
  for (const auto& [first, last] : ranges_) {
    if (last < rows) continue;
    throw ConfigError(fmt::format("{}: {}-{}, but {} has {} rows, counted from 0", key_, first,
                                  last, file.string(), rows));
  }
}

SummaryData read_summaries(const fs::path& file, const SummaryRequest& request) {
  Reader reader(file, request);
  switch (format_of(file)) {
    case Format::kCsv:
      read_csv(file, [&](int64_t line, std::span<const std::string> fields) {
        reader.read_csv_row(line, fields);
      });
      break;
    case Format::kJsonList: {
      const json list = read_json_file(file);
      for (size_t i = 0; i < list.size(); ++i) {
        reader.read_json_row(fmt::format("{}: entry {}", file.string(), i), list[i]);
      }
      break;
    }
    case Format::kJsonLines:
      read_json_lines(file, [&](const json& value, int64_t line) {
        reader.read_json_row(fmt::format("{}:{}", file.string(), line), value);
      });
  }
  return reader.finish();
}

std::vector<std::string> summary_file_names(const std::string& split) {
  const std::vector<std::string> stems = split == "train"
                                             ? std::vector<std::string>{"train"}
                                             : std::vector<std::string>{"validation", "val", "dev"};
  std::vector<std::string> names;
  for (const std::string& stem : stems) {
    for (const char* ending : {".jsonl", ".json", ".csv"}) names.push_back(stem + ending);
  }
  return names;
}

}  // namespace quell
