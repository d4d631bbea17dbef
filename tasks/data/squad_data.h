// Questions of SQuAD v1.1 and v2.0 from their files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "tasks/data/data_files.h"

namespace quell {

struct ReferenceAnswer {
  std::string text;
  int64_t start = 0;  // in Unicode code points of the context
};

struct SquadExample {
  int64_t index = 0;    // 0-based number of the question in its file
  int64_t article = 0;  // 0-based number of the article in its file
  std::string id;
  std::string question;
  std::string context;
  std::vector<ReferenceAnswer> answers;  // none: the context does not answer the question
  bool misplaced = false;  // the first answer does not stand in the context where the file says
};

struct SquadData {
  std::filesystem::path file;
  std::vector<SquadExample> examples;
  int64_t articles = 0;
};

// Reads the official JSON ("data", "paragraphs", "qas"), or rows with the columns of the Hugging
// Face data sets (id, context, question, answers): JSON lines, Parquet, or a JSON object with the
// rows as "data" or "examples". Answers are a list of {text, answer_start} or an object of two
// lists; plausible answers do not count, and "is_impossible" decides nothing. Rows that follow one
// another with the same "title" are an article. `encoding` as in read_text().
//
// Throws DataError naming file and place: no JSON, missing fields, an id for the second time, no
// questions. An empty context, and an answer that does not stand where the file says, are none:
// see squad_notes().
SquadData read_squad(const std::filesystem::path& file, const std::string& encoding = "");

// Keeps the articles `ranges` (0-based, "3" or "0-35"); all for an empty list. Throws ConfigError
// naming `key` for something else, and for articles that the file does not have.
void keep_articles(SquadData& data, const std::vector<std::string>& ranges, const std::string& key);

// What the user should know: questions with an empty context, and with `version_2` false questions
// without an answer.
std::vector<std::string> squad_notes(const SquadData& data, bool version_2);

// How many questions are in both, by their ids.
int64_t count_shared(const SquadData& a, const SquadData& b);

// Leaves out the misplaced examples, which nothing can be learned from. Returns a sentence about
// them, or nothing.
std::string drop_misplaced(SquadData& data);

// What the official files of a split ("train", "dev") are called, and others.
SplitNames squad_file_names(const std::string& split, bool version_2);

}  // namespace quell
