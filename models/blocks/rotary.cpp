#include "models/blocks/rotary.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>
#include <cmath>
#include <numbers>

#include "framework/base/error.h"

namespace quell {
namespace {

// In float32, as Hugging Face does.
std::vector<float> frequencies_of(double base, int64_t features) {
  const at::Tensor exponents = at::arange(0, features, 2, at::kFloat).div_(features);
  const at::Tensor frequencies = at::pow(base, exponents).reciprocal_();
  const float* data = frequencies.const_data_ptr<float>();
  return {data, data + frequencies.numel()};
}

// Llama 3.1: long waves are stretched, short ones kept, those between blended.
void stretch_long_waves(const ConfigFields& fields, int64_t trained,
                        std::vector<float>& frequencies) {
  const auto factor = static_cast<float>(fields.positive("factor"));
  const auto low = static_cast<float>(fields.positive("low_freq_factor"));
  const auto high = static_cast<float>(fields.positive("high_freq_factor"));
  const auto positions =
      static_cast<float>(fields.integer("original_max_position_embeddings", /*least=*/1, trained));
  if (!(low < high)) fields.refuse("low_freq_factor", "less than high_freq_factor");
  for (float& frequency : frequencies) {
    const float length = 2 * std::numbers::pi_v<float> / frequency;
    if (length > positions / low) {
      frequency /= factor;
    } else if (length >= positions / high) {
      const float kept = (positions / length - low) / (high - low);
      frequency = (1 - kept) * frequency / factor + kept * frequency;
    }
  }
}

// How many of a head's features turn.
int64_t turning_features(const ConfigFields& config, const ConfigFields& fields, int64_t head_size,
                         const std::string& type, const RotaryKeys& keys) {
  constexpr const char* kShare = "partial_rotary_factor";
  if (keys.share == nullptr) {
    // Plain positions of these families do not read it there, and others fail.
    if (type != "default" && fields.positive(kShare, 1) != 1) fields.refuse(kShare, "1");
    return head_size;
  }
  const double share = fields.positive(kShare, config.positive(keys.share, keys.usual_share));
  const auto features = static_cast<int64_t>(static_cast<double>(head_size) * share);
  if (share > 1 || features < 2 || features % 2 != 0) {
    fields.refuse(kShare, "a share that gives an even number of a head's features");
  }
  return features;
}

}  // namespace

RotaryShape rotary_shape(const ConfigFields& config, int64_t head_size, RotaryKeys keys) {
  constexpr double kUsualBase = 10000;
  // Earlier releases have the base beside the scaling, and call its type "type". Where a file has
  // both objects, the library reads the older one.
  const ConfigFields scaling = config.section("rope_scaling");
  const ConfigFields fields = scaling.is_empty() ? config.section("rope_parameters") : scaling;
  const double base = fields.positive("rope_theta", config.positive(keys.base, kUsualBase));
  const char* key = fields.has("rope_type") ? "rope_type" : "type";
  const std::string type = fields.text(key, "default");
  const int64_t features = turning_features(config, fields, head_size, type, keys);
  const int64_t trained = config.integer("max_position_embeddings", /*least=*/1, /*fallback=*/2048);
  RotaryShape shape{.frequencies = frequencies_of(base, features), .max_positions = trained};
  if (type == "linear") {
    const auto factor = static_cast<float>(fields.positive("factor"));
    for (float& frequency : shape.frequencies) frequency /= factor;
  } else if (type == "dynamic") {
    shape.positions = trained;
    shape.base = base;
    shape.factor = fields.positive("factor");
    shape.max_positions = std::llround(shape.factor * static_cast<double>(trained));
  } else if (type == "llama3") {
    stretch_long_waves(fields, trained, shape.frequencies);
  } else if (type != "default") {
    fields.refuse(key, "\"default\", \"linear\", \"dynamic\" or \"llama3\"");
  }
  return shape;
}

RotaryAngles rotary_angles(const RotaryShape& shape, const Batch& batch) {
  const at::Tensor positions = batch.target_position_ids().to(at::kFloat);
  at::Tensor turns = at::outer(positions, at::tensor(shape.frequencies));
  const std::vector<int64_t>& offsets = batch.target_offsets();
  for (int64_t i = 0; shape.positions > 0 && i < batch.sequences(); ++i) {
    const int64_t length = batch.target_valid_lengths()[i], rows = offsets[i + 1] - offsets[i];
    if (length + batch.context_length(i) <= shape.positions) continue;
    if (!batch.contexts.empty()) {
      throw ConfigError(fmt::format(
          "a text of {} tokens is longer than the {} that \"dynamic\" scaling was trained with: "
          "its "
          "frequencies are its own, and its context cannot be shared; set share_contexts to false",
          length + batch.context_length(i), shape.positions));
    }
    const auto features = static_cast<double>(2 * shape.frequencies.size());
    const double excess = static_cast<double>(length) / static_cast<double>(shape.positions);
    const double base = shape.base * std::pow(shape.factor * excess - (shape.factor - 1),
                                              features / (features - 2));
    turns.narrow(0, offsets[i], rows)
        .copy_(at::outer(positions.narrow(0, offsets[i], rows),
                         at::tensor(frequencies_of(base, static_cast<int64_t>(features)))));
  }
  const at::Tensor angles = at::cat({turns, turns}, -1);
  return {angles.cos(), angles.sin()};
}

}  // namespace quell
