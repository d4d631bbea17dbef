#include "framework/io/new_head.h"

#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>
#include <random>
#include <span>

#include "framework/base/error.h"

namespace quell {
namespace {

// "BertForSequenceClassification" -> "Bert".
std::string family_of(const nlohmann::json& config) {
  const auto found = config.find("architectures");
  if (found == config.end() || !found->is_array() || found->empty()) return "";
  if (!found->front().is_string()) return "";
  const auto name = found->front().get<std::string>();
  return name.substr(0, std::min(name.find("For"), name.find("Model")));
}

// Uniform in (0, 1]: std::normal_distribution differs between standard libraries.
double draw_share(std::mt19937_64& generator) {
  constexpr double kSteps = 9007199254740992.0;  // 2^53
  return (static_cast<double>(generator() >> 11) + 1) / kSteps;
}

}  // namespace

void Checkpoint::start_head(const NewHead& head) {
  for (const auto& [name, file] : tensors_) {
    if (!name.starts_with(head.tensors)) continue;
    throw ConfigError(
        fmt::format("{}: the weights have such a head already ({}); leave out model.head",
                    folder_.string(), name));
  }
  (*config_)["architectures"] = {family_of(*config_) + head.architecture};
  for (const char* key : {"id2label", "label2id", "num_labels", "problem_type"}) {
    config_->erase(key);
  }
  new_head_ = head;
}

namespace internal {
namespace {

// Whether a name has a module, or begins one, that is called so.
bool has_part(const std::string& name, std::span<const char* const> parts) {
  return std::any_of(parts.begin(), parts.end(), [&](const std::string& part) {
    return name.starts_with(part) || name.find("." + part) != std::string::npos;
  });
}

}  // namespace

bool is_left_over(const std::string& name) {
  constexpr const char* kParts[] = {"pooler.dense.",
                                    "cls.predictions.",
                                    "cls.seq_relationship.",
                                    "lm_head.",
                                    "final_logits_bias",
                                    "vocab_transform.",
                                    "vocab_layer_norm.",
                                    "vocab_projector.",
                                    "generator_predictions.",
                                    "generator_lm_head.",
                                    "discriminator_predictions.",
                                    "encoder.version",
                                    "decoder.version",
                                    "embeddings.token_type_ids",
                                    "embed_positions._float_tensor",
                                    "embeddings.position_ids"};
  return has_part(name, kParts);
}

bool belongs_to_head(const std::string& name) {
  constexpr const char* kHeads[] = {"pooler.", "classifier.",    "classification_head.",
                                    "cls.",    "lm_head.",       "qa_outputs.",
                                    "score.",  "pre_classifier."};
  return has_part(name, kHeads);
}

bool is_other_head(const std::string& name, const std::string& prefix) {
  constexpr const char* kLosses[] = {"loss", "criterion"};
  if (prefix.empty() || name.starts_with(prefix)) return false;
  return belongs_to_head(name) || has_part(name, kLosses);
}

at::Tensor new_tensor(const ExpectedTensor& expected, const NewHead& head,
                      const nlohmann::json& config) {
  const at::Tensor tensor = at::zeros(expected.shape);
  if (expected.name.ends_with(".bias")) return tensor;
  constexpr double kUsualRange = 0.02;
  const auto range = config.find("initializer_range");
  const double deviation =
      range != config.end() && range->is_number() ? range->get<double>() : kUsualRange;
  std::mt19937_64 generator(head.seed);
  float* values = tensor.mutable_data_ptr<float>();
  for (int64_t i = 0; i < tensor.numel(); ++i) {  // Box and Muller 1958
    const double radius = std::sqrt(-2 * std::log(draw_share(generator)));
    const double angle = 2 * std::numbers::pi * draw_share(generator);
    values[i] = static_cast<float>(deviation * radius * std::cos(angle));
  }
  return tensor;
}

}  // namespace internal
}  // namespace quell
