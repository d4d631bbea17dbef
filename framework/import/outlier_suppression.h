// From a configuration file of the published code of "Outlier Suppression" to an experiment.
#pragma once

#include <filesystem>

#include "framework/import/imported_experiment.h"

namespace quell {

// Converts `file` with the files that its `root:` names: the same sites, observers, quantizers,
// calibration and steps in the published order (gamma migration; token-wise clipping and, where the
// activations' quantizer learns, learned scales; else calibration). Throws ConfigError
// (`file:line:column`) on mistakes in it and on tasks that quell does not have.
ImportedExperiment import_outlier_suppression(const std::filesystem::path& file,
                                              const ImportOptions& options);

}  // namespace quell
