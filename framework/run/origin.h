// What the results of a run follow from: settings, model, data and code, as texts that can be
// hashed. Equal texts mean equal results.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "framework/io/checkpoint.h"
#include "framework/run/experiment.h"

namespace quell {

// SHA-256 of files, each of which is read once.
class FileHashes {
 public:
  // Throws DataError naming the file.
  const std::string& of(const std::string& file);

 private:
  std::map<std::string, std::string> hashes_;
};

// The files besides the checkpoint's own: those that the task reads, and the texts of the model's
// folder, such as tokenizer and generation settings.
std::vector<std::string> input_files(const Checkpoint& checkpoint,
                                     std::vector<std::string> task_files);

// Code, model and files: what is the same whatever the settings are. `model` is the fingerprint of
// the checkpoint. Files that are named in the experiment count, too: calibration data, scales to
// start from.
std::string inputs_text(const ExperimentSpec& spec, const std::string& model,
                        const std::vector<std::string>& files, FileHashes& hashes);

// The settings that a step of the pipeline depends on, as YAML: those of the network, of the data
// and of the steps up to that one.
std::string step_settings(const ExperimentSpec& spec, size_t step);

// The settings that the network in front of a step depends on, while nothing is quantized and no
// step before has trained it.
std::string network_settings(const ExperimentSpec& spec, size_t step);

// The settings that the float network's evaluation depends on, as YAML.
std::string float_settings(const ExperimentSpec& spec);

}  // namespace quell
