// From a command of the published code of "Understanding and Overcoming the Challenges of Efficient
// Transformer Quantization" to an experiment.
#pragma once

#include <string>
#include <vector>

#include "framework/import/imported_experiment.h"

namespace quell {

// Converts the words of `main.py validate-quantized ...`, `validate-baseline`, `train-quantized` or
// `train-baseline`: the same sites with the same bits, groups and estimators, calibrated in the
// same order on other examples, with the same rounding and training. A command without its name
// counts as validate-quantized. Throws ConfigError with all mistakes, and with options that quell
// has no counterpart of.
ImportedExperiment import_qualcomm(const std::vector<std::string>& words,
                                   const ImportOptions& options);

}  // namespace quell
