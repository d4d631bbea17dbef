// Tables of any format as JSON objects, row by row.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace quell {

enum class TableFormat { kJsonLines, kJsonList, kCsv, kParquet, kText };

// By the ending, else by the first bytes. kText is what is none of the others: TSV, and files
// without an ending.
TableFormat table_format(const std::filesystem::path& path);

// One row, and where it and the names of its columns stand, for messages: "dev.jsonl:7",
// "dev.parquet: row 6" (counted from 0).
struct TableRow {
  const nlohmann::json& value;
  std::string place;
  std::string columns_place;                         // of CSV: the header; else that of the row
  const std::vector<std::string>* header = nullptr;  // in the order of the file, where it has one

  std::vector<std::string> columns() const;
};

// Calls `use` for every row of the file, or of all its shards, in their order. Fields of CSV (with
// a header line, as read_csv() says) are texts, empty ones null. `encoding` as in read_text();
// Parquet has its own. kText is read as CSV. Throws DataError naming file and line or row.
void read_rows(const std::filesystem::path& path, TableFormat format, const std::string& encoding,
               const std::function<void(const TableRow&)>& use);

// The files that the first shard of a table stands for: "train-00000-of-00003.parquet", or
// "train/0000.parquet", as the Hub stores large tables. Any other file stands for itself. Throws
// DataError for a shard that is missing.
std::vector<std::filesystem::path> shards_of(const std::filesystem::path& path);

}  // namespace quell
