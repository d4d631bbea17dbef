#include "tasks/data/data_files.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>

#include "framework/base/error.h"
#include "framework/io/rows.h"
#include "framework/io/text.h"

namespace quell {
namespace fs = std::filesystem;
namespace {

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

// What is in a folder, in a fixed order; nothing where it is none.
std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) entries.push_back(entry.path());
  std::sort(entries.begin(), entries.end());
  return entries;
}

std::optional<fs::path> first_shard(const fs::path& folder, const std::string& stem,
                                    const std::string& ending) {
  if (const fs::path numbered = folder / stem / ("0000" + ending); is_file(numbered)) {
    return numbered;
  }
  std::vector<fs::path> found;
  for (const fs::path& file : entries_of(folder)) {
    const bool fits =
        file.filename().string().starts_with(stem + "-00000-of-") && file.extension() == ending;
    if (fits && is_file(file)) found.push_back(file);
  }
  if (found.size() > 1) {
    throw DataError(
        fmt::format("{} and {} are shards of different tables; name one with a key of "
                    "the task, or move the other away",
                    found[0].string(), found[1].string()));
  }
  return found.empty() ? std::nullopt : std::optional(found.front());
}

std::optional<fs::path> find_in(const fs::path& folder, const SplitNames& names) {
  for (const std::string& stem : names.stems) {
    for (const std::string& ending : names.endings) {
      if (is_file(folder / (stem + ending))) return folder / (stem + ending);
    }
    for (const std::string& ending : names.endings) {
      if (const auto shard = first_shard(folder, stem, ending)) return shard;
    }
  }
  return std::nullopt;
}

// "SST-2" and "sst2" are the same.
std::string normalized(std::string name) {
  std::erase_if(name, [](char c) { return c == '-' || c == '_'; });
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return name;
}

}  // namespace

std::string SplitNames::text() const {
  std::vector<std::string> names;
  for (const std::string& stem : stems) {
    for (const std::string& ending : endings) names.push_back(stem + ending);
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

std::optional<fs::path> find_split(const fs::path& folder, const SplitNames& names) {
  for (const fs::path& place : {folder, folder / "data"}) {
    if (const auto file = find_in(place, names)) return file;
  }
  const std::vector<fs::path> entries = entries_of(folder);
  for (const std::string& config : names.configs) {
    for (const fs::path& entry : entries) {
      if (normalized(entry.filename()) != normalized(config)) continue;
      if (const auto file = find_in(entry, names)) return file;
    }
  }
  if (!names.any_config) return std::nullopt;
  std::vector<fs::path> found;
  for (const fs::path& entry : entries) {
    if (const auto file = find_in(entry, names)) found.push_back(*file);
  }
  if (found.size() > 1) {
    throw DataError(fmt::format("{}: several data sets, {} and {}; choose one with task.path",
                                folder.string(), found[0].string(), found[1].string()));
  }
  return found.empty() ? std::nullopt : std::optional(found.front());
}

fs::path find_given_file(const fs::path& folder, const std::string& given, const std::string& key) {
  for (const fs::path& place : {folder / given, fs::path(given)}) {
    if (is_file(place)) return place;
  }
  throw DataError(fmt::format("{}: no file \"{}\", neither in \"{}\" nor in the working directory",
                              key, given, folder.string()));
}

fs::path find_data_file(const fs::path& folder, const std::string& given, const std::string& split,
                        const SplitNames& names) {
  if (!given.empty()) return find_given_file(folder, given, fmt::format("task.{}_file", split));
  if (folder.empty()) {
    throw ConfigError(
        fmt::format("task.path: name the folder of the data, or task.{}_file", split));
  }
  if (const auto found = find_split(folder, names)) return *found;
  throw DataError(fmt::format(
      "{}: no {} file: looked for {}; name it with task.{}_file{}", folder.string(), split,
      names.text(), split,
      split == "train" ? ", or calibrate on the evaluation data with `calibration: {split: dev}`"
                       : ""));
}

void check_encoding(const std::string& encoding, Report& report) {
  if (knows_encoding(encoding)) return;
  report.problem("encoding",
                 fmt::format("unknown \"{}\"; expected is a name that ICU knows: utf-8, latin-1, "
                             "windows-1252, utf-16, gb18030, shift_jis, ...",
                             encoding));
}

void add_note(const std::string& note, std::vector<std::string>& notes) {
  if (std::find(notes.begin(), notes.end(), note) == notes.end()) notes.push_back(note);
}

void add_files(const fs::path& file, std::vector<std::string>& files) {
  for (const fs::path& shard : shards_of(file)) {
    if (std::find(files.begin(), files.end(), shard.string()) == files.end()) {
      files.push_back(shard.string());
    }
  }
}

}  // namespace quell
