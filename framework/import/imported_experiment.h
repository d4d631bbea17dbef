// What every import gives and takes.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "framework/import/notes.h"

namespace quell {

struct ImportOptions {
  std::string model;                     // model.path; empty: what the source says, where it exists
  std::string data;                      // task.path; empty: left to be set
  std::vector<std::string> model_types;  // model plug-ins; others are mentioned in the notes
};

struct ImportedExperiment {
  std::string yaml;  // an experiment file, with comments
  ImportNotes notes;
};

// A string as YAML, in quotes where it needs them.
std::string yaml_text(const std::string& text);

// The model_type of a folder's config.json, or what the published codes would guess from a name;
// empty where neither says.
std::string published_model_type(const std::filesystem::path& folder, const std::string& name);

}  // namespace quell
