#include <fmt/format.h>
#include <algorithm>
#include <map>
#include <set>

#include "framework/base/error.h"
#include "framework/io/sha256.h"
#include "framework/run/environment.h"
#include "framework/run/runner.h"
#include "framework/sweep/cell.h"

namespace quell {
namespace {

namespace fs = std::filesystem;

// Model and data that several cells share.
struct Source {
  std::vector<Site> sites;
  std::string model;               // fingerprint of the checkpoint
  std::vector<std::string> files;  // of data and tokenizer, in order
};

class Fingerprints {
 public:
  Fingerprints(const Plugins& plugins, Log& log) : plugins_(plugins), log_(log) {}

  std::string of(const Cell& cell, Problems& problems) {
    const Source& source = source_of(cell);
    plan_sites(source.sites, cell.spec.quant.rules, plugins_, problems);
    std::string text = fmt::format("quell sweep cell 1\n{}\n{}model {}\n", code_version(),
                                   cell.config, source.model);
    std::set<std::string> files(source.files.begin(), source.files.end());
    add_named_files(to_node(cell.spec), files);
    for (const std::string& file : files) text += fmt::format("file {}\n", hash_of(file));
    return sha256_of_text(text);
  }

 private:
  // What is loaded depends on these sections only.
  static std::string key_of(const ExperimentSpec& spec) {
    const ConfigNode root = to_node(spec);
    std::string key = spec.pipeline.empty() ? "float only" : to_yaml(*root.find("calibration"));
    for (const char* section : {"model", "task"}) key += to_yaml(*root.find(section));
    return key;
  }

  const Source& source_of(const Cell& cell) {
    const std::string key = key_of(cell.spec);
    if (const auto known = sources_.find(key); known != sources_.end()) return known->second;
    ExperimentSpec spec = cell.spec;
    spec.quant.rules.clear();  // they are checked for each cell
    Runner runner(spec, plugins_, log_);
    // Reads the training data, so that a missing split is known now.
    if (!spec.pipeline.empty()) runner.task().calibration(spec.calibration, spec.seed);
    Source source;
    source.sites.assign(runner.model().sites().begin(), runner.model().sites().end());
    source.model = runner.checkpoint().fingerprint();
    source.files = runner.task_files();
    add_model_texts(runner.checkpoint(), source.files);
    return sources_.emplace(key, std::move(source)).first->second;
  }

  // Tokenizer, generation settings and the like.
  static void add_model_texts(const Checkpoint& checkpoint, std::vector<std::string>& files) {
    const auto& hashed = checkpoint.files();
    for (const auto& entry : fs::directory_iterator(checkpoint.folder())) {
      const std::string ending = entry.path().extension().string();
      const bool is_text = ending == ".json" || ending == ".txt" || ending == ".model";
      if (!is_text || !entry.is_regular_file()) continue;
      if (std::find(hashed.begin(), hashed.end(), entry.path()) != hashed.end()) continue;
      files.push_back(entry.path().string());
    }
  }

  // Files that stand in the experiment: calibration data, scales to start from.
  static void add_named_files(const ConfigNode& node, std::set<std::string>& files) {
    std::error_code ignored;
    if (node.is_scalar() && fs::is_regular_file(node.text, ignored)) files.insert(node.text);
    for (const ConfigNode& child : node.children) add_named_files(child, files);
  }

  const std::string& hash_of(const std::string& file) {
    auto [entry, is_new] = hashes_.try_emplace(file);
    if (is_new) entry->second = sha256_of_file(file);
    return entry->second;
  }

  const Plugins& plugins_;
  Log& log_;
  std::map<std::string, Source> sources_;
  std::map<std::string, std::string> hashes_;
};

}  // namespace

void fingerprint_cells(std::vector<Cell>& cells, const Plugins& plugins, Log& log) {
  Fingerprints fingerprints(plugins, log);
  Problems problems;
  for (Cell& cell : cells) {
    try {
      cell.fingerprint = fingerprints.of(cell, problems);
    } catch (const Error& error) {
      throw Error(fmt::format("{} (cell {})", error.what(), cell.label), error.exit_code());
    }
  }
  problems.throw_if_any();
}

}  // namespace quell
