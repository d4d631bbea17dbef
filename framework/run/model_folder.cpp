#include "framework/run/model_folder.h"

#include <nlohmann/json.hpp>

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
                                   "merges.txt"};

}  // namespace

void write_model_folder(const fs::path& folder, const Model& model, const Checkpoint& origin) {
  fs::create_directories(folder);
  for (const char* name : kCopied) {
    if (!fs::exists(origin.folder() / name)) continue;
    copy_atomically(origin.folder() / name, folder / name);
  }
  if (origin.has_new_head()) write_file(folder / kConfig, origin.config().dump(2) + "\n");
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const auto& [name, tensor] : model.stored_parameters()) tensors.emplace_back(name, tensor);
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
