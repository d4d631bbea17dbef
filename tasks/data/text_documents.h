// Texts for language models, from files.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "framework/config/schema.h"
#include "tasks/data/data_files.h"

namespace quell {

// What of a text file counts as a text; of a table every row does.
enum class TextUnit {
  kWhole,  // the file
  kLines,  // each line with its end; blank lines are empty texts, as in Hugging Face's WikiText
  kPages,  // see wikitext_pages()
};

template <>
struct EnumNames<TextUnit> {
  static constexpr std::pair<const char*, TextUnit> values[] = {
      {"whole", TextUnit::kWhole}, {"lines", TextUnit::kLines}, {"pages", TextUnit::kPages}};
};

struct TextRequest {
  TextUnit unit = TextUnit::kWhole;
  std::string column;    // of tables; empty: text or page
  std::string encoding;  // of text files, as in read_text()
};

struct TextData {
  std::filesystem::path file;
  std::string column;              // "page" where the file is no table
  std::vector<std::string> texts;  // in the order of the file
};

// Reads a text file, JSON lines, a JSON list, CSV with a header, or Parquet (read_rows()). Throws
// DataError naming file and row: no such column, fields that are no text, nothing but blanks.
TextData read_texts(const std::filesystem::path& file, const TextRequest& request);

// What the texts of a split ("train", "dev", which is the test set) are called: "test.txt",
// "wiki.test.raw", "test-00000-of-00001.parquet".
SplitNames text_file_names(const std::string& split);

}  // namespace quell
