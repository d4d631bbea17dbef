// A trained model as a folder in Hugging Face layout.
#pragma once

#include <filesystem>

#include "framework/io/checkpoint.h"
#include "framework/model/model.h"

namespace quell {

// Writes model.safetensors with all parameters of the model and, from the checkpoint that it came
// from, config.json (as it is there, unless the head is new) and copies of the tokenizer's files,
// so that `folder` can be a `model.path`.
void write_model_folder(const std::filesystem::path& folder, const Model& model,
                        const Checkpoint& origin);

// Removes what write_model_folder() wrote; other files stay.
void remove_model_folder(const std::filesystem::path& folder);

}  // namespace quell
