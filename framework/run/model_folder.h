// A trained model as a folder in Hugging Face layout.
#pragma once

#include <filesystem>

#include "framework/model/model.h"

namespace quell {

// Writes model.safetensors with all parameters of the model and, from the folder that it came from,
// copies of config.json and the files of the tokenizer, so that `folder` can be a `model.path`.
void write_model_folder(const std::filesystem::path& folder, const Model& model,
                        const std::filesystem::path& origin);

// Removes what write_model_folder() wrote; other files stay.
void remove_model_folder(const std::filesystem::path& folder);

}  // namespace quell
