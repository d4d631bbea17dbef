// From a configuration file of the published code of "Outlier Suppression+" to an experiment.
#pragma once

#include <filesystem>

#include "framework/import/imported_experiment.h"

namespace quell {

// Whether a YAML file has the sections of that code, which names neither model nor task.
bool is_outlier_suppression_plus(const std::filesystem::path& file);

// Throws ConfigError with everything that is wrong with the file. `options.model` says which of the
// three models of the code it is for; without one, names of folders on the file's path do.
ImportedExperiment import_outlier_suppression_plus(const std::filesystem::path& file,
                                                   const ImportOptions& options);

}  // namespace quell
