// A model folder in Hugging Face layout: config.json and the tensors beside it.
#pragma once

#include <ATen/core/Tensor.h>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace quell {

// A tensor that a model expects.
struct ExpectedTensor {
  std::string name;            // Hugging Face name, e.g. "bert.pooler.dense.weight"
  std::vector<int64_t> shape;
  bool optional = false;       // no error when absent; the result then has no such key
  std::string tied_to;         // where absent: the same tensor under this name, else ""
};

class Checkpoint {
 public:
  // Reads config.json and finds the weights: model.safetensors, model.safetensors.index.json with
  // its shards, pytorch_model.bin, or pytorch_model.bin.index.json, in this order. Throws DataError.
  explicit Checkpoint(const std::filesystem::path& folder);
  ~Checkpoint();

  const std::filesystem::path& folder() const { return folder_; }
  const nlohmann::json& config() const;

  // The expected tensors, converted to float32 (integer tensors keep their type). Old names
  // (LayerNorm.gamma, LayerNorm.beta) and a missing or additional base-model prefix ("bert.") are
  // understood. Tensors that are missing, not expected (except `ignored` suffixes such as
  // "position_ids"), wrongly shaped, or that hold NaN or infinity are listed in one DataError.
  std::map<std::string, at::Tensor> load(const std::vector<ExpectedTensor>& expected,
                                         const std::vector<std::string>& ignored_suffixes,
                                         const std::string& base_prefix) const;

  // SHA-256 over config.json and the weight files, for environment.json and fingerprints.
  std::string fingerprint() const;

 private:
  struct Weights;
  std::filesystem::path folder_;
  std::unique_ptr<nlohmann::json> config_;
  std::unique_ptr<Weights> weights_;
};

}  // namespace quell
