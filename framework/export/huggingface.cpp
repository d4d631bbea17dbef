#include "framework/export/huggingface.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/isfinite.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <map>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/record/model_folder.h"

namespace quell {
namespace fs = std::filesystem;
namespace {

constexpr const char* kTied = "tie_word_embeddings";

void refuse(const std::vector<std::string>& additions) {
  if (additions.empty()) return;
  throw ConfigError(fmt::format(
      "the model's class in Hugging Face transformers has no place for what the pipeline "
      "adds to it: {}. Models with norms in front of their blocks (OPT, BLOOM, GPT-2, "
      "LLaMA) have room for factors, and those with biases for shifts",
      fmt::join(additions, "; ")));
}

// What transforms have added after all.
void check_names(const std::map<std::string, at::Tensor>& tensors) {
  std::vector<std::string> added;
  for (const auto& [name, tensor] : tensors) {
    for (const char* ending :
         {".shortcut.scale", ".shortcut.shift", ".added_bias", ".held.limit", ".held.value"}) {
      if (name.ends_with(ending)) added.push_back(name);
    }
  }
  refuse(added);
}

at::Tensor converted(const std::string& name, const at::Tensor& tensor, at::ScalarType type) {
  if (!tensor.is_floating_point()) return tensor;
  at::Tensor result = tensor.to(type);
  if (at::isfinite(result).all().item<bool>()) return result;
  throw ConfigError(
      fmt::format("{}: values up to {:.3g} do not fit into float16; take --format "
                  "huggingface-bfloat16 or huggingface",
                  name, tensor.abs().max().item<double>()));
}

// Whether a tensor that the class ties to another one has become one of its own.
bool unties(const Model& model, const std::map<std::string, at::Tensor>& tensors) {
  for (const Segment& segment : model.segments()) {
    for (const ModelTensor& tensor : segment.tensors) {
      const auto own = tensors.find(tensor.stored.stored_name());
      const auto other = tensors.find(tensor.stored.tied_to);
      if (tensor.stored.tied_to.empty() || own == tensors.end() || other == tensors.end()) continue;
      if (!at::equal(own->second, other->second)) return true;
    }
  }
  return false;
}

std::string config_of(const Checkpoint& checkpoint, const std::string& dtype, bool untied) {
  nlohmann::ordered_json config = nlohmann::ordered_json::parse(checkpoint.config().dump());
  // Release 5 writes "dtype"; earlier ones read the other name, which 5 understands.
  if (config.contains("dtype")) config["dtype"] = dtype;
  config["torch_dtype"] = dtype;
  if (untied) config[kTied] = false;
  return config.dump(2) + "\n";
}

std::string name_of(at::ScalarType type) {
  if (type == at::kHalf) return "float16";
  return type == at::kBFloat16 ? "bfloat16" : "float32";
}

void write_as(const CalibratedNetwork& network, const fs::path& folder, at::ScalarType type,
              Log& log) {
  write_model_folder(folder, huggingface_model(network, type, log),
                     network.bench().checkpoint->folder());
}

}  // namespace

TrainedModel huggingface_model(const CalibratedNetwork& network, at::ScalarType type, Log& log) {
  const Bench& bench = network.bench();
  std::map<std::string, at::Tensor> tensors = bench.model->stored_parameters();
  check_names(tensors);
  const bool untied = unties(*bench.model, tensors);
  for (auto& [name, tensor] : tensors) tensor = converted(name, tensor, type);
  if (untied) log.info("the head is not tied any more: it has a table of its own");
  return {std::move(tensors), config_of(*bench.checkpoint, name_of(type), untied)};
}

void check_huggingface(Bench& bench, const Plugins& /*plugins*/) {
  if (bench.spec.model.by_layer) {
    throw ConfigError("model.by_layer: an export needs the whole model in memory; leave it out");
  }
  refuse(additions_of(bench));
}

void write_huggingface(const CalibratedNetwork& network, const fs::path& folder, Log& log) {
  write_as(network, folder, at::kFloat, log);
}

void write_huggingface_float16(const CalibratedNetwork& network, const fs::path& folder, Log& log) {
  write_as(network, folder, at::kHalf, log);
}

void write_huggingface_bfloat16(const CalibratedNetwork& network, const fs::path& folder,
                                Log& log) {
  write_as(network, folder, at::kBFloat16, log);
}

}  // namespace quell
