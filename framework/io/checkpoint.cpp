#include "framework/io/checkpoint.h"

#include <fmt/format.h>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/io/coded_file.h"
#include "framework/io/manifest.h"
#include "framework/io/sha256.h"
#include "framework/json/json.h"

namespace quell {
namespace fs = std::filesystem;
namespace {

using nlohmann::json;

[[noreturn]] void fail(const fs::path& path, const std::string& message) {
  throw DataError(fmt::format("{}: {}", path.string(), message));
}

std::string other_formats(const fs::path& folder) {
  for (const char* name : {"tf_model.h5", "flax_model.msgpack", "model.onnx", "model.ckpt.index"}) {
    std::error_code ignored;
    if (fs::exists(folder / name, ignored)) {
      return fmt::format("; {} is of another framework: convert it to safetensors", name);
    }
  }
  return "";
}

// Tensor name -> file name of its shard.
std::map<std::string, std::string> read_weight_map(const fs::path& index) {
  const json content = read_json_file(index);
  if (!content.is_object() || !content.contains("weight_map") ||
      !content["weight_map"].is_object()) {
    fail(index, "expected an object with a \"weight_map\" from tensor names to files");
  }
  std::map<std::string, std::string> result;
  for (const auto& [name, shard] : content["weight_map"].items()) {
    // A shard lies beside its index: anything else could name any file of the machine.
    if (!shard.is_string() || shard.get<std::string>().empty() ||
        fs::path(shard.get<std::string>()).filename() != shard.get<std::string>()) {
      fail(index,
           fmt::format("weight_map: the file of tensor \"{}\" is not a plain file name", name));
    }
    result.emplace(name, shard.get<std::string>());
  }
  return result;
}

}  // namespace

Checkpoint::Checkpoint(const fs::path& folder, WeightFiles weights) : folder_(folder) {
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored)) {
    fail(folder, fs::exists(folder, ignored)
                     ? "is not a folder; expected a folder in Hugging Face layout"
                     : "no such folder; expected a folder with config.json and model.safetensors");
  }
  files_.push_back(folder / "config.json");
  config_ = std::make_unique<json>(read_json_file(files_.back()));
  if (!config_->is_object()) fail(files_.back(), "expected a JSON object");
  open_weights();
  if (weights == WeightFiles::kRequired) require_weights();
  count_labels();
}

void Checkpoint::require_weights() const {
  if (!absent_.empty()) throw DataError(absent_);
}

Checkpoint::~Checkpoint() = default;
Checkpoint::Checkpoint(Checkpoint&&) noexcept = default;
Checkpoint& Checkpoint::operator=(Checkpoint&&) noexcept = default;

void Checkpoint::open_weights() {
  std::error_code ignored;
  const auto open_whole = [&](const fs::path& path, std::unique_ptr<TensorFile> file) {
    files_.push_back(path);
    weights_.push_back(std::move(file));
    for (const std::string& name : weights_.back()->names()) {
      tensors_.emplace(name, weights_.back().get());
    }
  };
  if (const fs::path file = folder_ / kCodedFile; fs::exists(file, ignored)) {
    check_manifest(folder_);
    return open_whole(file, std::make_unique<CodedFile>(file));
  }
  for (const char* stem : {"model.safetensors", "pytorch_model.bin"}) {
    const fs::path file = folder_ / stem;
    const fs::path index = folder_ / (std::string(stem) + ".index.json");
    if (fs::exists(file, ignored)) return open_whole(file, open_tensor_file(file));
    if (fs::exists(index, ignored)) return open_shards(index);
  }
  absent_ = fmt::format(
      "{}: no weights: neither model.safetensors nor pytorch_model.bin nor an index of "
      "shards (model.safetensors.index.json, pytorch_model.bin.index.json){}",
      folder_.string(), other_formats(folder_));
}

void Checkpoint::open_shards(const fs::path& index) {
  files_.push_back(index);
  const auto weight_map = read_weight_map(index);
  std::map<std::string, const TensorFile*> shards;
  for (const auto& [name, shard] : weight_map) shards[shard] = nullptr;
  for (auto& [shard, file] : shards) {
    files_.push_back(folder_ / shard);
    std::error_code ignored;
    if (!fs::exists(files_.back(), ignored)) {
      absent_ = fmt::format("{}: the shard {} is missing in {}; download it again", index.string(),
                            shard, folder_.string());
      weights_.clear();
      return;
    }
    weights_.push_back(open_tensor_file(files_.back()));
    file = weights_.back().get();
  }
  for (const auto& [name, shard] : weight_map) {
    if (!shards[shard]->contains(name)) {
      fail(index, fmt::format("tensor \"{}\" is not in its shard {}; index and shards do not "
                              "belong together",
                              name, shard));
    }
    tensors_.emplace(name, shards[shard]);
  }
  // Tensors that the index does not name are seen as well, so that they are reported as unexpected.
  for (const auto& file : weights_) {
    for (const std::string& name : file->names()) tensors_.emplace(name, file.get());
  }
}

// The library leaves out the labels of a classifier with two, whatever its family has by default.
void Checkpoint::count_labels() {
  for (const char* key : {"id2label", "num_labels"}) {
    if (config_->contains(key) && !(*config_)[key].is_null()) return;
  }
  for (const char* name :
       {"classifier.weight", "classifier.out_proj.weight", "classification_head.out_proj.weight"}) {
    const auto found = tensors_.find(name);
    if (found == tensors_.end() || found->second->shape(name).size() != 2) continue;
    (*config_)["num_labels"] = found->second->shape(name).front();
  }
}

void Checkpoint::note(std::string text) const {
  if (std::find(notes_.begin(), notes_.end(), text) == notes_.end()) {
    notes_.push_back(std::move(text));
  }
}

std::vector<std::string> Checkpoint::names() const {
  std::vector<std::string> result;
  for (const auto& [name, file] : tensors_) result.push_back(name);
  return result;
}

const TensorFile& Checkpoint::file_of(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) internal::no_such_tensor(folder_, name, names());
  return *found->second;
}

const std::vector<int64_t>& Checkpoint::shape(const std::string& name) const {
  return file_of(name).shape(name);
}

at::ScalarType Checkpoint::type(const std::string& name) const { return file_of(name).type(name); }

std::string Checkpoint::fingerprint() const {
  std::string text;
  for (const fs::path& file : files_) {
    text += fmt::format("{} {}\n", sha256_of_file(file), file.filename().string());
  }
  return sha256_of_text(text);
}

}  // namespace quell
