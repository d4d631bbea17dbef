// Parquet files, through a module of their own that is loaded when the first one is read: Arrow
// would make every start of the program slower.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace quell {

// A row as a JSON object; `columns` are the names in the order of the file.
using ParquetRow = std::function<void(nlohmann::json row, const std::vector<std::string>& columns)>;

// Whether this build can read Parquet: whether Arrow was there when it was made.
bool reads_parquet();

// Calls `use` for every row. Texts, numbers, truth values, nulls, lists and structs keep their
// kind; classes (ClassLabel of Hugging Face) come as their names, those without one as numbers;
// other values as Arrow prints them. Throws DataError for damaged files, and without Arrow.
void read_parquet(const std::filesystem::path& path, const ParquetRow& use);

}  // namespace quell
