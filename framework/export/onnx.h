// ONNX files for onnxruntime and OpenVINO.
#pragma once

#include <filesystem>

#include "framework/base/log.h"
#include "framework/run/bench.h"
#include "framework/run/run.h"

namespace quell {

// Throws ConfigError where the model or a granularity has no form in ONNX.
void check_onnx(Bench& bench, const Plugins& plugins);
// model.onnx, and config.json and the tokenizer's files beside it. Inputs are input_ids,
// attention_mask and, where the model has token types, token_type_ids, int64 [sequences, tokens]
// with padding behind.
void write_onnx(const CalibratedNetwork& network, const std::filesystem::path& folder, Log& log);

}  // namespace quell
