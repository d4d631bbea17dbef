#include "framework/run/origin.h"

#include <fmt/format.h>
#include <algorithm>

#include "framework/io/sha256.h"
#include "framework/run/environment.h"

namespace quell {
namespace {

namespace fs = std::filesystem;

// Tokenizer, generation settings and the like.
void add_model_texts(const Checkpoint& checkpoint, std::set<std::string>& files) {
  const auto& hashed = checkpoint.files();
  for (const auto& entry : fs::directory_iterator(checkpoint.folder())) {
    const std::string ending = entry.path().extension().string();
    const bool is_text = ending == ".json" || ending == ".txt" || ending == ".model";
    if (!is_text || !entry.is_regular_file()) continue;
    if (std::find(hashed.begin(), hashed.end(), entry.path()) != hashed.end()) continue;
    files.insert(entry.path().string());
  }
}

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

std::string inputs_text(const ExperimentSpec& spec, const Checkpoint& checkpoint,
                        const std::string& model_hash, const std::vector<std::string>& task_files,
                        FileHashes& hashes) {
  std::set<std::string> files(task_files.begin(), task_files.end());
  add_model_texts(checkpoint, files);
  add_named_files(to_node(spec), files);
  std::string text = fmt::format("{}\nmodel {}\n", code_version(), model_hash);
  for (const std::string& file : files) text += fmt::format("file {}\n", hashes.of(file));
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
  std::vector<const char*> names = {"seed", "model", "task", "calibration"};
  if (step > 0) names.push_back("pipeline");
  // Transforms do not depend on quantizers; solvers may train the network with them.
  const bool solved = std::any_of(before.pipeline.begin(), before.pipeline.end(),
                                  [](const StepChoice& done) { return done.solver() != nullptr; });
  if (solved) names.push_back("quant");
  return sections(to_node(before), names);
}

std::string float_settings(const ExperimentSpec& spec) {
  const ConfigNode root = to_node(spec);
  // A new head is drawn with the seed.
  const bool drawn = spec.model.head != ModelHead::kStored;
  return sections(root,
                  drawn ? std::vector{"model", "task", "seed"} : std::vector{"model", "task"});
}

}  // namespace quell
