// What the module for Parquet offers to the program.
#pragma once

#include <string>

#include "framework/io/parquet.h"

namespace quell {

// The module's only name. `problem` stays empty unless the file is damaged; what `use` throws
// passes through.
using ReadParquet = void (*)(const char* path, const ParquetRow& use, std::string& problem);
constexpr const char* kReadParquet = "quell_read_parquet";

}  // namespace quell
