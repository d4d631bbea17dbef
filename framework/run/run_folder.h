// The folder of a run: what is in it reproduces the run.
#pragma once

#include <filesystem>

#include "framework/base/log.h"
#include "framework/run/runner.h"

namespace quell {

// Makes sure that a run may write to `folder`: it is created, an earlier run in it is an error
// without `overwrite`, and its files are removed with it. Throws ConfigError or Error.
void prepare_run_folder(const std::filesystem::path& folder, bool overwrite);

// Writes config.resolved.yaml, results.h5, predictions.jsonl, environment.json and log.txt, then
// metrics.json: where it exists, the run is complete. Every file is complete or absent. Times and
// facts of the host are in environment.json and log.txt only.
void write_run_folder(const std::filesystem::path& folder, const Runner& runner, const Log& log);

}  // namespace quell
