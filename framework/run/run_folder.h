// The folder of a run: what is in it reproduces the run.
#pragma once

#include <filesystem>

#include "framework/base/log.h"
#include "framework/run/runner.h"

namespace quell {

// Makes sure that a run may write to `folder`: it is created, must be writable, and an earlier run
// in it is an error without `overwrite`. Throws ConfigError or Error.
void prepare_run_folder(const std::filesystem::path& folder, bool overwrite);

// Writes config.resolved.yaml, results.h5, predictions.jsonl, environment.json and log.txt, then
// metrics.json: where it exists, the run is complete. Every file is complete or absent; an earlier
// run is replaced only now, when this one has succeeded. Times and
// facts of the host are in environment.json and log.txt only.
void write_run_folder(const std::filesystem::path& folder, const Runner& runner, const Log& log);

}  // namespace quell
