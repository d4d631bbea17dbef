// The format `quell`: a quantized network as a folder that `quell run` loads again.
#pragma once

#include <filesystem>

#include "framework/base/log.h"
#include "framework/run/bench.h"
#include "framework/run/run.h"

namespace quell {

// Everything can be said.
void check_network_folder(Bench& bench, const Plugins& plugins);

// A model folder whose weights are codes (quantized.safetensors), the state of every quantizer
// (quantizers.safetensors), an experiment that restores both (experiment.yaml), and hashes of all
// of them (quell.json). Throws Error where a quantizer would give other values than it gave.
void write_network_folder(const CalibratedNetwork& network, const std::filesystem::path& folder,
                          Log& log);

}  // namespace quell
