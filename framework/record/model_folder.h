// A trained model as a folder in Hugging Face layout.
#pragma once

#include <filesystem>
#include <string>

#include "framework/record/run_record.h"

namespace quell {

// Writes model.safetensors and config.json, and copies the tokenizer's files from the folder that
// the model came from, so that `folder` can be a `model.path`.
void write_model_folder(const std::filesystem::path& folder, const TrainedModel& model,
                        const std::filesystem::path& origin);

// The files of a model folder without its weights: config.json, which is `config` where that is not
// empty, and the tokenizer's.
void write_model_files(const std::filesystem::path& folder, const std::string& config,
                       const std::filesystem::path& origin);

// Removes what write_model_folder() wrote; other files stay.
void remove_model_folder(const std::filesystem::path& folder);

}  // namespace quell
