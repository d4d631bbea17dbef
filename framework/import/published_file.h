// Configuration files of published code: read strictly as far as quell has a counterpart of their
// keys, the others sorted out.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "framework/config/schema.h"
#include "framework/import/notes.h"

namespace quell::published {

// A key that means nothing to quell: "train.output_dir".
struct WithoutEffect {
  std::string_view path;
  std::string_view reason;
};

struct KnownKeys {
  std::vector<std::string> sections;
  std::span<const WithoutEffect> without_effect;
};

struct UnknownKey {
  Mark mark;
  std::string path;
  std::string hint;  // "; did you mean ...?", or nothing
};

struct PublishedFile {
  ConfigNode root;  // what has a counterpart in the schema
  std::vector<UnknownKey> unknown;
  ImportNotes notes;  // on unknown keys and those without effect
};

// Reads a file, and from the files that `root:` names one after another whole sections that are
// missing in it. Throws ConfigError for wrong syntax and files that are not there.
PublishedFile read_published(const std::filesystem::path& file, const ObjectSchema& schema,
                             const KnownKeys& known);
// Where there are problems: a misspelt key may be why another one is missing.
void add_unknown_keys(const PublishedFile& file, Problems& problems);

// The file as a Config. Throws ConfigError with all that is wrong.
template <class Config>
Config load_published(const std::filesystem::path& file, const KnownKeys& known,
                      ImportNotes& notes) {
  PublishedFile read = read_published(file, schema_of<Config>(), known);
  Problems problems;
  ReadContext context{problems};
  Config config = read_config<Config>(read.root, context);
  add_unknown_keys(read, problems);
  problems.throw_if_any();
  notes = std::move(read.notes);
  return config;
}

}  // namespace quell::published
