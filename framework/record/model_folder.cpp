#include "framework/record/model_folder.h"

#include "framework/base/file.h"
#include "framework/io/safetensors.h"

namespace quell {
namespace fs = std::filesystem;
namespace {

constexpr const char* kWeights = "model.safetensors";
constexpr const char* kConfig = "config.json";
constexpr const char* kCopied[] = {kConfig,
                                   "tokenizer.json",
                                   "tokenizer_config.json",
                                   "special_tokens_map.json",
                                   "added_tokens.json",
                                   "vocab.txt",
                                   "vocab.json",
                                   "merges.txt",
                                   "tokenizer.model",
                                   "generation_config.json"};

}  // namespace

void write_model_files(const fs::path& folder, const std::string& config, const fs::path& origin) {
  fs::create_directories(folder);
  for (const char* name : kCopied) {
    if (!fs::exists(origin / name)) continue;
    copy_atomically(origin / name, folder / name);
  }
  if (!config.empty()) write_file(folder / kConfig, config);
}

void write_model_folder(const fs::path& folder, const TrainedModel& model, const fs::path& origin) {
  write_model_files(folder, model.config, origin);
  const std::vector<std::pair<std::string, at::Tensor>> tensors(model.tensors.begin(),
                                                                model.tensors.end());
  // Hugging Face transformers asks for this entry.
  write_safetensors(folder / kWeights, tensors, {{"format", "pt"}});
}

void remove_model_folder(const fs::path& folder) {
  std::error_code ignored;
  fs::remove(folder / kWeights, ignored);
  for (const char* name : kCopied) fs::remove(folder / name, ignored);
  fs::remove(folder, ignored);  // unless something else is in it
}

}  // namespace quell
