#include "framework/io/rows.h"

#include <fmt/format.h>
#include <algorithm>
#include <charconv>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <string_view>

#include "framework/base/error.h"
#include "framework/io/parquet.h"
#include "framework/io/table.h"
#include "framework/io/text.h"
#include "framework/json/json.h"

namespace quell {
namespace fs = std::filesystem;
namespace {

using nlohmann::json;
using UseRow = std::function<void(const TableRow&)>;

void read_csv_rows(const fs::path& path, const std::string& encoding, const UseRow& use) {
  std::vector<std::string> header;
  std::string header_place;
  const auto read_row = [&](int64_t line, std::span<const std::string> fields) {
    const std::string place = fmt::format("{}:{}", path.string(), line);
    if (header.empty()) {
      header.assign(fields.begin(), fields.end());
      header_place = place;
      return;
    }
    if (fields.size() != header.size()) {
      throw DataError(
          fmt::format("{}: {} fields, but the header has {}; fields with commas or line ends need "
                      "quotation marks",
                      place, fields.size(), header.size()));
    }
    json row = json::object();
    for (size_t i = 0; i < fields.size(); ++i) {
      row.emplace(header[i], fields[i].empty() ? json() : json(fields[i]));
    }
    use({row, place, header_place, &header});
  };
  read_csv(path, read_row, encoding);
}

void read_line_rows(const fs::path& path, const std::string& encoding, const UseRow& use) {
  const std::string content = read_text(path, encoding);
  std::string_view rest = content;
  JsonOptions options;
  for (; !rest.empty(); ++options.first_line) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string place = fmt::format("{}:{}", path.string(), options.first_line);
    use({parse_json(line, path.string(), options), place, place});
  }
}

void read_list_rows(const fs::path& path, const std::string& encoding, const UseRow& use) {
  const json list = parse_json(read_text(path, encoding), path.string());
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string place = fmt::format("{}: entry {}", path.string(), i);
    use({list[i], place, place});
  }
}

void read_parquet_rows(const fs::path& path, const UseRow& use) {
  int64_t number = 0;
  read_parquet(path, [&](const json& row, const std::vector<std::string>& columns) {
    const std::string place = fmt::format("{}: row {}", path.string(), number++);
    use({row, place, place, &columns});
  });
}

std::optional<int64_t> number_in(std::string_view text, size_t digits) {
  int64_t value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc() && stop == text.data() + text.size();
  return whole && text.size() == digits && text.front() != '-' ? std::optional(value)
                                                               : std::nullopt;
}

[[noreturn]] void missing_shard(const fs::path& first, const fs::path& missing) {
  throw DataError(fmt::format("{}: the shard {} is missing beside it; download it, too",
                              first.string(), missing.filename().string()));
}

// 0000.parquet, 0001.parquet, ... in a folder.
std::vector<fs::path> numbered_files(const fs::path& first) {
  std::set<int64_t> numbers;
  for (const auto& entry : fs::directory_iterator(first.parent_path())) {
    const auto number = number_in(entry.path().stem().string(), 4);
    if (number && entry.path().extension() == first.extension()) numbers.insert(*number);
  }
  std::vector<fs::path> files;
  for (int64_t i = 0; i <= *numbers.rbegin(); ++i) {
    files.push_back(first.parent_path() / fmt::format("{:04}{}", i, first.extension().string()));
    if (!numbers.contains(i)) missing_shard(first, files.back());
  }
  return files;
}

}  // namespace

TableFormat table_format(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::string start(4, '\0');
  stream.read(start.data(), static_cast<std::streamsize>(start.size()));
  const std::string ending = path.extension().string();
  if (ending == ".parquet" || start == "PAR1") return TableFormat::kParquet;
  if (ending == ".csv") return TableFormat::kCsv;
  if (ending == ".tsv" || ending == ".txt") return TableFormat::kText;
  if (start.starts_with("\xEF\xBB\xBF")) start.erase(0, 3);
  const size_t first = start.find_first_not_of(" \t\r\n");
  if (first != std::string::npos && start[first] == '[') return TableFormat::kJsonList;
  return is_jsonl(path) ? TableFormat::kJsonLines : TableFormat::kText;
}

std::vector<std::string> TableRow::columns() const {
  if (header != nullptr) return *header;
  std::vector<std::string> names;
  if (value.is_object()) {
    for (const auto& entry : value.items()) names.push_back(entry.key());
  }
  return names;
}

void read_rows(const fs::path& path, TableFormat format, const std::string& encoding,
               const UseRow& use) {
  for (const fs::path& file : shards_of(path)) {
    switch (format) {
      case TableFormat::kJsonLines:
        read_line_rows(file, encoding, use);
        break;
      case TableFormat::kJsonList:
        read_list_rows(file, encoding, use);
        break;
      case TableFormat::kParquet:
        read_parquet_rows(file, use);
        break;
      case TableFormat::kCsv:
      case TableFormat::kText:
        read_csv_rows(file, encoding, use);
    }
  }
}

std::vector<fs::path> shards_of(const fs::path& path) {
  constexpr std::string_view kFirst = "-00000-of-";
  constexpr size_t kDigits = 5;
  const std::string stem = path.stem().string();
  if (stem == "0000") return numbered_files(path);
  const size_t position = stem.rfind(kFirst);
  if (position == std::string::npos) return {path};
  const auto count = number_in(std::string_view(stem).substr(position + kFirst.size()), kDigits);
  if (!count || *count < 1) return {path};
  std::vector<fs::path> files;
  for (int64_t i = 0; i < *count; ++i) {
    files.push_back(path.parent_path() / fmt::format("{}-{:05}-of-{:05}{}",
                                                     stem.substr(0, position), i, *count,
                                                     path.extension().string()));
    if (!fs::exists(files.back())) missing_shard(path, files.back());
  }
  return files;
}

}  // namespace quell
