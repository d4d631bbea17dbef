// Writing a text for each sequence of a batch.
#pragma once

#include <vector>

#include "framework/model/generation.h"
#include "framework/model/model.h"

namespace quell {

// `options.num_return_sequences` texts for each sequence, those of one together. Sequences that are
// finished take no more time. A decoder alone goes on from the sequence, which its text, with its
// lengths, includes; max_new_tokens count behind it. Throws ConfigError when the model writes no
// text or an option does not fit it.
std::vector<GeneratedSequence> generate(const Model& model, const Batch& batch,
                                        const GenerationOptions& options, const Pass& pass);

}  // namespace quell
