// The format compressed-tensors (https://github.com/vllm-project/compressed-tensors), which vLLM
// and transformers load.
#pragma once

#include <filesystem>

#include "framework/base/log.h"
#include "framework/run/bench.h"
#include "framework/run/run.h"

namespace quell {

// Throws ConfigError where the model has no place in transformers, see check_huggingface(), or the
// format has none for what is quantized.
void check_compressed_tensors(Bench& bench, const Plugins& plugins);

// The folder of write_huggingface() in float32, with codes and grids in place of the weights of
// linears: `int-quantized` where their inputs are quantized, too, `pack-quantized` where they are
// not, and both as `mixed-precision`.
void write_compressed_tensors(const CalibratedNetwork& network, const std::filesystem::path& folder,
                              Log& log);

}  // namespace quell
