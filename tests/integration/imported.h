// Imported experiments, loaded on the model and the data of the quick start.
#pragma once

#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "framework/config/load.h"
#include "framework/import/imported_experiment.h"
#include "tests/support/small_experiment.h"

namespace quell {

constexpr int kConfigurationError = 2;

// A file of tests/data/import.
inline std::filesystem::path config(const std::string& name) {
  return test_data() / "import" / name;
}

class ImportedTest : public testing::Test {
 protected:
  ExperimentSpec load(const ImportedExperiment& imported) {
    return load_experiment(folder_.write("imported.yaml", imported.yaml),
                           {"model.path=" + (quickstart() / "model").string(),
                            "task.path=" + (quickstart() / "data").string()},
                           all_plugins());
  }
  ProgramResult quell(const std::vector<std::string>& arguments) {
    return run_quell(arguments, folder_.path());
  }

  TemporaryFolder folder_;
};

inline std::vector<std::string> steps(const ExperimentSpec& spec) {
  std::vector<std::string> names;
  for (const StepChoice& step : spec.pipeline) names.push_back(step.name());
  return names;
}

// All notes of a kind in one text.
inline std::string notes(const ImportedExperiment& imported, ImportNote::Kind kind) {
  std::string text;
  for (const ImportNote& note : imported.notes) {
    if (note.kind == kind) text += note.text + "\n";
  }
  return text;
}

// What the last rules say about a site.
inline SitePlan plan_of(const ExperimentSpec& spec, QuantizedNetwork& network,
                        const std::string& key) {
  Problems problems;
  const auto& sites = network.model().sites();
  const auto plan = plan_sites(sites, spec.quant.rules, all_plugins(), problems);
  EXPECT_TRUE(problems.empty()) << testing::PrintToString(problems.lines());
  for (size_t i = 0; i < sites.size(); ++i) {
    if (sites[i].key() == key) return plan[i];
  }
  ADD_FAILURE() << "no site " << key;
  return {};
}

// The same on the BERT of the quick start.
inline SitePlan plan_of(const ExperimentSpec& spec, const std::string& key) {
  static QuantizedNetwork network(quickstart() / "model", "{}");
  return plan_of(spec, network, key);
}

}  // namespace quell
