// The float model behind transforms, for Hugging Face transformers.
#pragma once

#include <ATen/core/Tensor.h>
#include <filesystem>

#include "framework/base/log.h"
#include "framework/run/run.h"

namespace quell {

// Throws ConfigError where the pipeline adds what the model's class in
// transformers has no place for, see Transform::additions(), and where the
// model is never in memory as a whole.
void check_huggingface(Bench& bench, const Plugins& plugins);

// Tensors by their names there, float32, float16 or bfloat16, and config.json. A head that is not
// tied any more is said to be so. Throws ConfigError where float16 cannot hold a value.
TrainedModel huggingface_model(const CalibratedNetwork& network, at::ScalarType type, Log& log);

// config.json, model.safetensors with all tensors of one type, and the files of tokenizer and
// generation of the model's own folder: what transformers loads with the logits of quell's float
// model.
void write_huggingface(const CalibratedNetwork& network, const std::filesystem::path& folder,
                       Log& log);
// Throws ConfigError where float16 cannot hold a value.
void write_huggingface_float16(const CalibratedNetwork& network,
                               const std::filesystem::path& folder, Log& log);
void write_huggingface_bfloat16(const CalibratedNetwork& network,
                                const std::filesystem::path& folder, Log& log);

}  // namespace quell
