// The options of the published code of "Understanding and Overcoming the Challenges of Efficient
// Transformer Quantization", main.py.
#pragma once

#include "framework/import/command_words.h"

namespace quell::published {

const CommandLanguage& qualcomm_language();

}  // namespace quell::published
