// Items with several continuations, of which one is right, from files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tasks/data/data_files.h"
#include "tasks/data/summary_data.h"

namespace quell {

struct ChoiceItem {
  int64_t index = 0;                       // 0-based row of the file
  std::string id;                          // empty where the file has none
  std::string place;                       // for messages
  std::vector<std::string> contexts;       // [choices]
  std::vector<std::string> continuations;  // [choices], as they are scored
  std::vector<std::string> choices;        // as their lengths count; empty where they do not
  std::optional<int64_t> gold;             // absent where the file hides it
  // doc_hash, prompt_hash and target_hash of lm-evaluation-harness.
  std::map<std::string, std::string> hashes;
};

struct ChoiceData {
  std::filesystem::path file;
  std::vector<ChoiceItem> items;
  std::vector<std::string> notes;
};

// How items of the task "other" are made of a row: templates (prompt_template.h).
struct ChoiceTemplates {
  std::vector<std::string> context;  // one, or one for each choice
  std::vector<std::string> choices;  // one each, or a single one that names a list
  std::string label;                 // number of the right choice, or its name or text
  std::string label_names;           // list of the names that labels have; empty: none
  std::string delimiter = " ";       // in front of every continuation
};

struct ChoiceRequest {
  std::string name;  // piqa, arc_easy, arc_challenge, hellaswag, winogrande, lambada or other
  ChoiceTemplates templates;
  RowRanges rows;
  std::string encoding;  // of text files, as in read_text()
};

// "piqa 1.0": task and version of lm-evaluation-harness whose prompts these are; empty for "other".
std::string harness_task(const std::string& name);

// Reads JSON lines, a JSON list, CSV with a header or Parquet with the columns of the Hugging Face
// data sets piqa, ai2_arc, hellaswag, winogrande and lambada, or any for "other". Throws DataError
// naming the row: missing columns, less than two choices, a label that is none of them.
ChoiceData read_choices(const std::filesystem::path& file, const ChoiceRequest& request);

// What files of a split ("train", "dev") are called: the split that the harness evaluates.
SplitNames choice_file_names(const std::string& split, const std::string& name);

}  // namespace quell
