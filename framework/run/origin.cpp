#include "framework/run/origin.h"

#include <fmt/format.h>
#include <algorithm>
#include <set>
#include <utility>

#include "framework/io/sha256.h"
#include "framework/record/environment.h"

namespace quell {
namespace {

namespace fs = std::filesystem;

void add_named_files(const ConfigNode& node, std::set<std::string>& files) {
  std::error_code ignored;
  if (node.is_scalar() && fs::is_regular_file(node.text, ignored)) files.insert(node.text);
  for (const ConfigNode& child : node.children) add_named_files(child, files);
}

std::string sections(const ConfigNode& root, const std::vector<const char*>& names) {
  ConfigNode chosen = ConfigNode::map();
  for (const char* name : names) chosen.set(name, *root.find(name));
  return to_yaml(chosen);
}

}  // namespace

const std::string& FileHashes::of(const std::string& file) {
  auto [entry, is_new] = hashes_.try_emplace(file);
  if (is_new) entry->second = sha256_of_file(file);
  return entry->second;
}

std::vector<std::string> input_files(const Checkpoint& checkpoint,
                                     std::vector<std::string> task_files) {
  std::vector<std::string> files = std::move(task_files);
  const auto& hashed = checkpoint.files();
  for (const auto& entry : fs::directory_iterator(checkpoint.folder())) {
    const std::string ending = entry.path().extension().string();
    const bool is_text = ending == ".json" || ending == ".txt" || ending == ".model";
    if (!is_text || !entry.is_regular_file()) continue;
    if (std::find(hashed.begin(), hashed.end(), entry.path()) != hashed.end()) continue;
    files.push_back(entry.path().string());
  }
  return files;
}

std::string inputs_text(const ExperimentSpec& spec, const std::string& model,
                        const std::vector<std::string>& files, FileHashes& hashes) {
  std::set<std::string> all(files.begin(), files.end());
  add_named_files(to_node(spec), all);
  std::string text = fmt::format("{}\nmodel {}\n", code_version(), model);
  for (const std::string& file : all) text += fmt::format("file {}\n", hashes.of(file));
  return text;
}

std::string step_settings(const ExperimentSpec& spec, size_t step) {
  ExperimentSpec until = spec;
  until.pipeline.resize(step + 1);
  return sections(to_node(until),
                  {"seed", "threads", "model", "task", "calibration", "quant", "pipeline"});
}

std::string network_settings(const ExperimentSpec& spec, size_t step) {
  ExperimentSpec before = spec;
  before.pipeline.resize(step);
  return sections(to_node(before), {"seed", "model", "task", "calibration", "pipeline"});
}

std::string float_settings(const ExperimentSpec& spec) {
  // A new head is drawn with the seed.
  const bool drawn = spec.model.head != ModelHead::kStored;
  return sections(to_node(spec),
                  drawn ? std::vector{"model", "task", "seed"} : std::vector{"model", "task"}) +
         fmt::format("engine {}\n", engine_of(spec));
}

}  // namespace quell
