#include <fmt/format.h>
#include <map>

#include "framework/base/error.h"
#include "framework/io/sha256.h"
#include "framework/run/bench.h"
#include "framework/run/origin.h"
#include "framework/sweep/cell.h"

namespace quell {
namespace {

namespace fs = std::filesystem;

// Model and data that several cells share.
struct Source {
  std::vector<Site> sites;
  std::string model;  // fingerprint of the checkpoint
  std::vector<std::string> files;
};

class Fingerprints {
 public:
  Fingerprints(const Plugins& plugins, Log& log) : plugins_(plugins), log_(log) {}

  std::string of(const Cell& cell, Problems& problems) {
    const Source& source = source_of(cell);
    plan_sites(source.sites, cell.spec.quant.rules, plugins_, problems);
    return sha256_of_text("quell sweep cell 2\n" + cell.config +
                          inputs_text(cell.spec, source.model, source.files, hashes_));
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
    const Bench bench = load_bench(spec, plugins_, log_);
    // Reads the training data, so that a missing split is known now.
    if (!spec.pipeline.empty()) bench.task->calibration(spec.calibration, spec.seed);
    Source source;
    source.sites.assign(bench.model->sites().begin(), bench.model->sites().end());
    source.model = bench.checkpoint->fingerprint();
    source.files = input_files(*bench.checkpoint, bench.task->files());
    return sources_.emplace(key, std::move(source)).first->second;
  }

  const Plugins& plugins_;
  Log& log_;
  std::map<std::string, Source> sources_;
  FileHashes hashes_;
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
