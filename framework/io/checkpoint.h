// A model folder in Hugging Face layout: config.json and the tensors beside it.
#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "framework/io/stored_part.h"
#include "framework/io/tensor_file.h"

namespace quell {

// A tensor that a model expects.
struct ExpectedTensor {
  std::string name;  // Hugging Face name, e.g. "bert.pooler.dense.weight", or, of a part, our own
  std::vector<int64_t> shape;
  bool optional = false;  // no error when absent; the result then has no such key
  std::string tied_to;    // where absent: the same tensor under this name, else ""
  bool integer = false;   // whole numbers or bool are expected, not floating point
  StoredPart part = {};   // where it lies in a tensor of the file

  const std::string& stored_name() const { return part.of.empty() ? name : part.of; }
};

// A head for another purpose than that of the checkpoint, to be trained.
struct NewHead {
  std::string architecture;  // what config.json is to say: "ForQuestionAnswering"
  std::string tensors;       // its tensors begin so: "qa_outputs."
  uint64_t seed = 0;         // of the generator that draws its weights
};

class Checkpoint;

// The tensors that a model expects, found in a checkpoint and not read yet.
class MatchedTensors {
 public:
  // As Checkpoint::load() gives it; undefined for an optional one that is not stored. Throws
  // DataError where it holds NaN or infinity. Several threads may read at once.
  at::Tensor read(const std::string& expected_name) const;
  bool contains(const std::string& expected_name) const { return sources_.contains(expected_name); }

 private:
  friend class Checkpoint;
  struct Source {
    ExpectedTensor expected;
    std::string stored;  // empty: it belongs to a new head
  };
  MatchedTensors(const Checkpoint& checkpoint, std::map<std::string, Source> sources)
      : checkpoint_(&checkpoint), sources_(std::move(sources)) {}

  const Checkpoint* checkpoint_;
  std::map<std::string, Source> sources_;  // by expected name
};

// Whether a folder must have its weights, too, or may do without until they are asked for.
enum class WeightFiles { kRequired, kOptional };

class Checkpoint {
 public:
  // Reads config.json and finds the weights: model.safetensors, model.safetensors.index.json with
  // its shards, pytorch_model.bin, or pytorch_model.bin.index.json, in this order. Throws
  // DataError.
  explicit Checkpoint(const std::filesystem::path& folder,
                      WeightFiles weights = WeightFiles::kRequired);
  ~Checkpoint();
  Checkpoint(Checkpoint&&) noexcept;
  Checkpoint& operator=(Checkpoint&&) noexcept;

  bool has_weights() const { return absent_.empty(); }
  // Throws DataError saying what is missing where it has none.
  void require_weights() const;

  const std::filesystem::path& folder() const { return folder_; }
  // Where it does not say how many labels there are, num_labels is that of the stored classifier.
  const nlohmann::json& config() const { return *config_; }
  // All tensor names as stored, and the shape and type of one of them.
  std::vector<std::string> names() const;
  const std::vector<int64_t>& shape(const std::string& name) const;
  at::ScalarType type(const std::string& name) const;

  // The expected tensors by their expected names, cut out of those of the file where they are parts
  // of them, and converted to float32 (integer tensors keep their type); a tied tensor shares its
  // memory with the one that it is tied to, or, where that is not stored, with another one that is
  // tied to it. Old names (LayerNorm.gamma, LayerNorm.beta) and a missing or additional base-model
  // prefix ("bert") are understood. Left aside are those that end with one of `ignored_suffixes`,
  // such as "position_ids", and, with a note, what is left over from pre-training: other heads and
  // poolers. Tensors that are missing, not expected, of wrong shape or type, or that hold NaN or
  // infinity are listed in one DataError.
  std::map<std::string, at::Tensor> load(const std::vector<ExpectedTensor>& expected,
                                         const std::vector<std::string>& ignored_suffixes,
                                         const std::string& base_prefix) const;
  // The same without reading any tensor: everything but values is checked. Needs the checkpoint as
  // long as it lives.
  MatchedTensors match(const std::vector<ExpectedTensor>& expected,
                       const std::vector<std::string>& ignored_suffixes,
                       const std::string& base_prefix) const;

  // From now on config() names the new head's architecture and no labels, and load() leaves out the
  // heads and poolers that are stored and makes up the new one: weights from a normal distribution
  // with the standard deviation `initializer_range` of config.json (else 0.02), biases 0. Throws
  // ConfigError when the stored weights have that head.
  void start_head(const NewHead& head);
  bool has_new_head() const { return new_head_.has_value(); }

  // What the folder has that does not count, for the log. Every note is kept once.
  const std::vector<std::string>& notes() const { return notes_; }
  void note(std::string text) const;

  // config.json and the weight files, with the index of shards.
  const std::vector<std::filesystem::path>& files() const { return files_; }
  // SHA-256 over the names and contents of files(). Reads them completely: half a second a
  // gigabyte.
  std::string fingerprint() const;

 private:
  friend class MatchedTensors;
  struct Loader;
  void open_weights();
  void open_shards(const std::filesystem::path& index);
  void count_labels();
  const TensorFile& file_of(const std::string& name) const;
  at::Tensor read(const MatchedTensors::Source& source) const;

  std::filesystem::path folder_;
  std::string absent_;  // what is missing of the weights; empty: nothing is
  std::unique_ptr<nlohmann::json> config_;
  std::vector<std::filesystem::path> files_;
  std::vector<std::unique_ptr<TensorFile>> weights_;
  std::map<std::string, const TensorFile*> tensors_;
  std::optional<NewHead> new_head_;
  mutable std::vector<std::string> notes_;
};

}  // namespace quell
