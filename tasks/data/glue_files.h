// Where a GLUE folder keeps its splits.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tasks/data/glue_spec.h"

namespace quell {

// What the user said; all may be empty.
struct GlueLocation {
  std::filesystem::path folder;
  std::string train_file;  // looked for in the folder first, then as given
  std::string dev_file;
  std::string dev_mismatched_file;  // MNLI only
};

struct GlueSet {
  std::string name;  // "dev", "dev_matched", "dev_mismatched"
  std::filesystem::path file;
};

// The training file: `train_file`, else train.{tsv,jsonl,json,csv,parquet} of the folder, or of its
// folder of that task as find_split() says. Throws DataError that names both ways to calibrate
// without one.
std::filesystem::path find_train_file(const GlueSpec& spec, const GlueLocation& location);

// The files to evaluate: those given, else dev.* or validation.* of the folder; for MNLI
// dev_matched.* and dev_mismatched.*, each if present. Throws DataError that lists the names tried.
std::vector<GlueSet> find_dev_files(const GlueSpec& spec, const GlueLocation& location);

}  // namespace quell
