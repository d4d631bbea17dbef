#include "tasks/data/text_documents.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>

#include "framework/base/error.h"
#include "framework/io/rows.h"
#include "framework/io/text.h"
#include "tasks/data/wikitext.h"

namespace quell {
namespace fs = std::filesystem;
namespace {

constexpr const char* kBlanks = " \t\r\n\f\v";

bool is_blank(std::string_view text) { return text.find_first_not_of(kBlanks) == text.npos; }

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size() - 1) + 1;
    const std::string_view line = text.substr(0, end);
    lines.emplace_back(is_blank(line) ? std::string_view() : line);
    text.remove_prefix(end);
  }
  return lines;
}

std::string column_of(const TableRow& row, const std::string& wanted) {
  const std::vector<std::string> columns = row.columns();
  const std::vector<std::string> names =
      wanted.empty() ? std::vector<std::string>{"text", "page"} : std::vector<std::string>{wanted};
  for (const std::string& name : names) {
    if (std::find(columns.begin(), columns.end(), name) != columns.end()) return name;
  }
  throw DataError(fmt::format(
      "{}: no column \"{}\" for the texts; columns found: {}; name it with task.text_column",
      row.columns_place, fmt::join(names, "\" or \""), fmt::join(columns, ", ")));
}

void read_table(TableFormat format, const TextRequest& request, TextData& data) {
  read_rows(data.file, format, request.encoding, [&](const TableRow& row) {
    if (!row.value.is_object()) throw DataError(row.place + ": expected a JSON object");
    const std::string column = column_of(row, request.column);
    data.column = column;
    const nlohmann::json& text = row.value.at(column);
    if (!text.is_string() && !text.is_null()) {
      throw DataError(
          fmt::format("{}: \"{}\" must be a text, found {}", row.place, column, text.type_name()));
    }
    data.texts.push_back(text.is_null() ? "" : text.get<std::string>());
  });
}

}  // namespace

TextData read_texts(const fs::path& file, const TextRequest& request) {
  TextData data{file, "page", {}};
  const TableFormat format = table_format(file);
  if (format != TableFormat::kText) {
    read_table(format, request, data);
  } else {
    std::string text = read_text(file, request.encoding);
    switch (request.unit) {
      case TextUnit::kWhole:
        data.texts = {std::move(text)};
        break;
      case TextUnit::kLines:
        data.texts = lines_of(text);
        break;
      case TextUnit::kPages:
        data.texts = wikitext_pages(text);
        break;
    }
  }
  if (std::all_of(data.texts.begin(), data.texts.end(), is_blank)) {
    throw DataError(fmt::format("{}: holds no text", file.string()));
  }
  return data;
}

SplitNames text_file_names(const std::string& split) {
  SplitNames names{{"train", "wiki.train"},
                   {".txt", ".raw", ".tokens", ".jsonl", ".json", ".csv", ".parquet"}};
  if (split != "train") names.stems = {"test", "wiki.test", "dev", "validation"};
  names.any_config = true;
  return names;
}

}  // namespace quell
