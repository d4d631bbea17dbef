#include "framework/io/table.h"

#include <fmt/format.h>
#include <fstream>
#include <string>
#include <vector>

#include "framework/base/error.h"
#include "framework/base/file.h"

namespace quell {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

void check_encoding(const fs::path& path, std::string_view content) {
  if (content.starts_with("\xFF\xFE") || content.starts_with("\xFE\xFF")) {
    throw DataError(
        fmt::format("{}: is UTF-16 text, expected UTF-8; convert it with iconv", path.string()));
  }
}

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\r") == std::string_view::npos;
}

void for_each_line(const fs::path& path,
                   const std::function<void(int64_t, std::string_view)>& handle) {
  const std::string content = read_file(path);
  check_encoding(path, content);
  std::string_view rest = content;
  if (rest.starts_with(kByteOrderMark)) rest.remove_prefix(kByteOrderMark.size());
  for (int64_t number = 1; !rest.empty(); ++number) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!is_blank(line)) handle(number, line);
  }
}

void split_fields(std::string_view line, std::vector<std::string_view>& fields) {
  fields.clear();
  while (true) {
    const size_t tab = line.find('\t');
    fields.push_back(line.substr(0, tab));
    if (tab == std::string_view::npos) return;
    line.remove_prefix(tab + 1);
  }
}

}  // namespace

void read_tsv(const fs::path& path, const TsvRow& row) {
  std::vector<std::string_view> fields;
  for_each_line(path, [&](int64_t number, std::string_view line) {
    split_fields(line, fields);
    row(number, fields);
  });
}

bool is_jsonl(const fs::path& path) {
  const std::string ending = path.extension().string();
  if (ending == ".jsonl" || ending == ".json") return true;
  if (ending == ".tsv" || ending == ".txt") return false;
  std::ifstream stream(path, std::ios::binary);
  char first = '\0';
  stream >> std::ws >> first;
  return first == '{';
}

}  // namespace quell
