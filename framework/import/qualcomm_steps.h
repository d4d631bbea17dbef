// The steps of an experiment's pipeline that options of learned rounding and of training become.
#pragma once

#include <string>

#include "framework/import/qualcomm_command.h"

namespace quell::published {

// "adaround: {...}". The command has --adaround.
std::string rounding_step(const QualcommCommand& command);

// "qat: {...}" of train-quantized and train-baseline, with notes of what is otherwise there.
// `clamps`: predicted scores are limited to [0, 5].
std::string training_step(const QualcommCommand& command, bool clamps, ImportNotes& notes);

}  // namespace quell::published
