// From a configuration file of the published code of "Outlier Suppression" to an experiment.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "framework/import/notes.h"

namespace quell {

struct ImportOptions {
  std::string model;                     // model.path; empty: what the file says, where it exists
  std::string data;                      // task.path; empty: left to be set
  std::vector<std::string> model_types;  // model plug-ins; others are mentioned in the notes
};

struct ImportedExperiment {
  std::string yaml;  // an experiment file, with comments
  ImportNotes notes;
};

// Converts `file` with the files that its `root:` names: the same sites, observers, quantizers,
// calibration and steps in the published order (gamma migration; token-wise clipping and, where the
// activations' quantizer learns, learned scales; else calibration). Throws ConfigError
// (`file:line:column`) on mistakes in it and on tasks that quell does not have.
ImportedExperiment import_outlier_suppression(const std::filesystem::path& file,
                                              const ImportOptions& options);

}  // namespace quell
