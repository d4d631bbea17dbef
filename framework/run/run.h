// Runs an experiment. What runs takes the bench with it: steps rewrite its model.
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "framework/base/log.h"
#include "framework/record/run_record.h"
#include "framework/run/bench.h"

namespace quell {

// Where a run keeps what may be of use to later ones; empty: nowhere.
struct RunFolders {
  std::filesystem::path progress;  // of this run, for its long steps to go on from after a stop
  std::filesystem::path cache;     // results that runs have in common, see ResultCache; only
                                   // together with `progress`
};

// All stages and steps. Throws Error when the run fails.
RunRecord run_experiment(Bench bench, Log& log, const RunFolders& folders = {});

// Only looks at the outliers and the hidden states of the float network; for experiments with
// record.outliers.
RunRecord run_outliers(Bench bench, Log& log);

// What the transforms of the pipeline add to the model, see Transform::additions().
std::vector<std::string> additions_of(const Bench& bench);

// A network whose pipeline ran, for evaluations with chosen sites quantized and all others in
// float.
class CalibratedNetwork {
 public:
  // Throws Error when the pipeline fails.
  CalibratedNetwork(Bench bench, Log& log);
  ~CalibratedNetwork();
  Evaluation evaluate(const std::vector<SiteId>& quantized);
  // The experiment, and its model as the pipeline left it.
  const Bench& bench() const;
  const SitePoints& points() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace quell
