// Networks behind their pipeline, written for others to load.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "framework/base/log.h"
#include "framework/run/bench.h"
#include "framework/run/run.h"

namespace quell {

struct ExportFormat {
  std::string name;
  std::string summary;
  // Throws ConfigError, with the reason and the way out, where the format cannot say what the
  // experiment asks for. Called before the pipeline runs; the model has no tensors yet, and may
  // have some afterwards.
  void (*check)(Bench& bench, const Plugins& plugins);
  // Fills a folder, which is new and empty.
  void (*write)(const CalibratedNetwork& network, const std::filesystem::path& folder, Log& log);
};

// One line for each, in export.cpp.
const std::vector<ExportFormat>& export_formats();

// The format of that name. Throws ConfigError with a suggestion.
const ExportFormat& find_export_format(const std::string& name);

// What a model folder has beside its weights: config.json and the tokenizer's files.
void write_other_files(const Bench& bench, const std::filesystem::path& folder);

// Checks, runs the pipeline, and writes the folder, which appears when it is complete. Throws
// ConfigError where there is one already, unless it is to be replaced.
void export_network(const ExperimentSpec& spec, const ExportFormat& format,
                    const std::filesystem::path& folder, bool overwrite, const Plugins& plugins,
                    Log& log);

}  // namespace quell
