// Where and how fast a run ran.
#pragma once

#include <cstdint>
#include <string>

#include "framework/record/run_record.h"

namespace quell {

// JSON with versions, processor, threads, fingerprints of model and data files, the most memory
// that was resident, and what each part of the run took, by the clock and of the processor.
std::string environment_json(const RunRecord& run);

// The most memory of this process that was resident at once so far; 0: the system does not say.
int64_t peak_memory_bytes();

// The name of the processor, or "unknown".
std::string processor();

// Of the kernels below ours, which decide how sums round: "LibTorch AVX2, oneDNN AVX2".
std::string instruction_sets();

// "quell 0.1.0 (build 39dbfd41...), LibTorch 2.11.0 (...)": another text for every change of the
// code, and for other instruction sets.
std::string code_version();

}  // namespace quell
