// Articles and their summaries, from files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "tasks/data/data_files.h"

namespace quell {

struct SummaryExample {
  int64_t index = 0;        // 0-based row of the file
  std::string id;           // empty where the file has none
  std::string article;      // empty where only summaries were asked for
  std::string summary;      // the reference; empty where only articles were asked for
  bool incomplete = false;  // the article or the reference is empty
};

struct SummaryData {
  std::filesystem::path file;
  std::vector<SummaryExample> examples;  // in the order of the file
  std::vector<std::string> notes;        // rows left out, ids that appear twice
};

// Ranges of rows, "900-999" (both included) or "7"; none: all rows.
class RowRanges {
 public:
  // Throws ConfigError naming `key` for anything else.
  RowRanges(const std::vector<std::string>& ranges, const std::string& key);
  RowRanges() = default;

  bool contains(int64_t row) const;
  // Throws ConfigError when a range goes beyond the rows of `file`.
  void check(int64_t rows, const std::filesystem::path& file) const;

 private:
  std::vector<std::pair<int64_t, int64_t>> ranges_;
  std::string key_;
};

struct SummaryRequest {
  std::string text_column;     // empty: document, article or text
  std::string summary_column;  // empty: summary, highlights or y
  bool needs_articles = true;
  bool needs_summaries = true;
  RowRanges rows = {};
  bool keeps_incomplete = false;  // rows with an empty article or summary
  std::string encoding = {};      // of text files, as in read_text()
};

// Reads JSON lines (or a JSON list of objects), CSV with a header or Parquet (read_rows()), with
// the column names of the Hugging Face data sets XSum and CNN/DailyMail or others; a column "id" is
// read where it exists. A row whose article, or whose summary where it is needed, is empty or null
// is left out, as published code does, and noted, unless the request keeps it; blanks are a text.
// Throws DataError with file:line for columns that are missing, fields that are no text and damaged
// files.
SummaryData read_summaries(const std::filesystem::path& file, const SummaryRequest& request);

// What files of a split ("train", "dev") of the data set `name` are called.
SplitNames summary_file_names(const std::string& split, const std::string& name);

}  // namespace quell
