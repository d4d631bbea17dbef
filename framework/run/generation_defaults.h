// How a model writes text unless an experiment says otherwise.
#pragma once

#include "framework/io/checkpoint.h"
#include "framework/model/generation.h"

namespace quell {

// From generation_config.json of the folder, where there is one, else from config.json, where older
// models have these keys. Throws DataError naming file and key.
GenerationOptions generation_defaults(const Checkpoint& checkpoint);

}  // namespace quell
