// Finding the file of a split in a folder of data.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "framework/config/object.h"

namespace quell {

// What the file of a split may be called.
struct SplitNames {
  std::vector<std::string> stems;    // "dev", "validation": the first ones are preferred
  std::vector<std::string> endings;  // ".tsv", ".jsonl"
  // Folders that hold one data set of several, as on the Hub; case and hyphens do not matter.
  std::vector<std::string> configs = {};
  bool any_config = false;  // where there is only one folder with such files, it may have any name

  // "dev.tsv, dev.jsonl", for messages.
  std::string text() const;
};

// The first file that fits: in the folder itself, in its folder "data", or in one of
// `names.configs`; there as a whole file or as the first of the Hub's shards (shards_of()),
// "dev-00000-of-00002.parquet" or "dev/0000.parquet". Throws DataError where several folders could
// be meant.
std::optional<std::filesystem::path> find_split(const std::filesystem::path& folder,
                                                const SplitNames& names);

// `given` in the folder or in the working directory. `key` names it: "task.dev_file". Throws
// DataError where it is in neither.
std::filesystem::path find_given_file(const std::filesystem::path& folder, const std::string& given,
                                      const std::string& key);

// The file that the user named, or, where `given` is empty, that of find_split(). `split` is
// "train" or "dev". Throws ConfigError without folder and file, and DataError that lists the names
// looked for.
std::filesystem::path find_data_file(const std::filesystem::path& folder, const std::string& given,
                                     const std::string& split, const SplitNames& names);

// Reports a value of the parameter `encoding` that read_text() does not know.
void check_encoding(const std::string& encoding, Report& report);

// Adds what the user should know to a list of notes, unless it is there.
void add_note(const std::string& note, std::vector<std::string>& notes);

// Adds the file, or all its shards, to a list of files that were read, unless it is there.
void add_files(const std::filesystem::path& file, std::vector<std::string>& files);

}  // namespace quell
