#include "framework/io/table.h"

#include <fmt/format.h>
#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "framework/base/error.h"
#include "framework/io/text.h"

namespace quell {
namespace fs = std::filesystem;
namespace {

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\r") == std::string_view::npos;
}

void for_each_line(const fs::path& path, const std::string& encoding,
                   const std::function<void(int64_t, std::string_view)>& handle) {
  const std::string content = read_text(path, encoding);
  std::string_view rest = content;
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

// Walks over the text of a CSV file, field by field.
class CsvReader {
 public:
  CsvReader(const fs::path& path, std::string_view text) : path_(path), rest_(text) {}

  int64_t line() const { return line_; }

  // The next row; false at the end of the file.
  bool next(std::vector<std::string>& fields) {
    fields.clear();
    if (rest_.empty()) return false;
    do {
      fields.push_back(rest_.starts_with('"') ? quoted_field() : plain_field());
    } while (take(','));
    take('\r');
    take('\n');
    return true;
  }

 private:
  [[noreturn]] void fail(int64_t line, const char* message) const {
    throw DataError(fmt::format("{}:{}: {}", path_.string(), line, message));
  }

  bool take(char c) {
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    line_ += c == '\n';
    return true;
  }

  bool at_row_end() const {
    return rest_.empty() || rest_.starts_with('\n') || rest_.starts_with("\r\n") || rest_ == "\r";
  }

  std::string plain_field() {
    size_t length = std::min(rest_.find_first_of(",\n"), rest_.size());
    if (length > 0 && rest_[length - 1] == '\r' && !rest_.substr(length).starts_with(',')) --length;
    const std::string field(rest_.substr(0, length));
    rest_.remove_prefix(length);
    return field;
  }

  std::string quoted_field() {
    const int64_t start = line_;
    std::string field;
    rest_.remove_prefix(1);
    while (true) {
      const size_t length = rest_.find('"');
      if (length == std::string_view::npos) {
        fail(start,
             "a quoted field begins here and never ends; a closing quotation mark is missing");
      }
      field += rest_.substr(0, length);
      line_ += std::count(rest_.begin(), rest_.begin() + static_cast<std::ptrdiff_t>(length), '\n');
      rest_.remove_prefix(length + 1);
      if (!take('"')) break;
      field += '"';
    }
    if (!rest_.starts_with(',') && !at_row_end()) {
      fail(line_,
           "text after the closing quotation mark of a field; expected a comma or the end of the "
           "line (a quotation mark inside of a quoted field is written twice)");
    }
    return field;
  }

  const fs::path& path_;
  std::string_view rest_;
  int64_t line_ = 1;
};

}  // namespace

void read_csv(const fs::path& path, const CsvRow& row, const std::string& encoding) {
  const std::string content = read_text(path, encoding);
  CsvReader reader(path, content);
  std::vector<std::string> fields;
  for (int64_t line = 1; reader.next(fields); line = reader.line()) {
    if (fields.size() > 1 || !is_blank(fields.front())) row(line, fields);
  }
}

void read_tsv(const fs::path& path, const TsvRow& row, const std::string& encoding) {
  std::vector<std::string_view> fields;
  for_each_line(path, encoding, [&](int64_t number, std::string_view line) {
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
