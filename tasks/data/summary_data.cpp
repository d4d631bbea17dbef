#include "tasks/data/summary_data.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string_view>

#include "framework/base/error.h"
#include "framework/io/rows.h"

namespace quell {
namespace fs = std::filesystem;
namespace {

using nlohmann::json;

const std::vector<std::string> kTextColumns = {"document", "article", "text"};
const std::vector<std::string> kSummaryColumns = {"summary", "highlights", "y"};

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

  void read_row(const TableRow& row);
  SummaryData finish();

 private:
  struct Columns {
    std::optional<size_t> text, summary, id;
  };

  Columns find_columns(const std::string& place, std::span<const std::string> names) const;
  void add(const std::string& place, Row row);

  const SummaryRequest& request_;
  SummaryData data_;
  std::vector<std::string> text_names_, summary_names_;
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

void Reader::read_row(const TableRow& row) {
  if (!row.value.is_object()) throw DataError(row.place + ": expected a JSON object");
  const std::vector<std::string> names = row.columns();
  const Columns columns = find_columns(row.columns_place, names);
  const auto field = [&](const std::optional<size_t>& column,
                         bool numbers) -> std::optional<std::string> {
    if (!column) return std::nullopt;
    const json& found = row.value.at(names[*column]);
    if (found.is_string()) return found.get<std::string>();
    if (found.is_null()) return "";
    if (numbers && found.is_number()) return found.dump();
    throw DataError(fmt::format("{}: \"{}\" must be a text, found {}", row.place, names[*column],
                                found.type_name()));
  };
  add(row.place,
      {field(columns.text, false), field(columns.summary, false), field(columns.id, true)});
}

void Reader::add(const std::string& place, Row row) {
  const int64_t index = rows_++;
  if (!request_.rows.contains(index)) return;
  const bool empty =
      (row.article && row.article->empty()) || (request_.needs_summaries && row.summary->empty());
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
  read_rows(file, table_format(file), request.encoding,
            [&](const TableRow& row) { reader.read_row(row); });
  return reader.finish();
}

SplitNames summary_file_names(const std::string& split, const std::string& name) {
  SplitNames names{{"train"}, {".jsonl", ".json", ".csv", ".parquet"}};
  if (split != "train") names.stems = {"validation", "val", "dev"};
  if (name == "cnn_dailymail") names.configs = {"3.0.0"};  // the version without names replaced
  names.any_config = true;
  return names;
}

}  // namespace quell
