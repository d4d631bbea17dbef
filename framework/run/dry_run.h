// What an experiment would cost, without running it.
#pragma once

#include "framework/run/bench.h"

namespace quell {

struct DryRun {
  int64_t evaluation_sequences = 0;
  int64_t evaluation_tokens = 0;
  int64_t calibration_batches = 0;
  int64_t calibration_tokens = 0;
  double forward_flops = 0;  // of all forward passes, matrix products of linears only
  double seconds = 0;        // estimated from a short matrix product measured here
  double memory_bytes = 0;   // estimated peak: weights, quantized copies, one batch
};

// Reads all data of the task, runs no model.
DryRun dry_run(const Bench& bench);

}  // namespace quell
