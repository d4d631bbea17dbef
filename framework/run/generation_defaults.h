// How a model writes text unless an experiment says otherwise.
#pragma once

#include "framework/io/checkpoint.h"
#include "framework/model/generation.h"

namespace quell {

// From generation_config.json of the folder, where there is one, else from config.json, where older
// models have these keys; the values that neither names are those of Hugging Face transformers 5.
// `max_positions` are the longest text that the model can write. Throws DataError naming file and
// key, also for searches that quell does not have, and where no token to begin with is named that
// the model needs; keys that are left aside become notes of the checkpoint.
GenerationOptions generation_defaults(const Checkpoint& checkpoint, int64_t max_positions,
                                      bool needs_start = true);

}  // namespace quell
