// An experiment with its model declared and its data known: what `check` shows and a run begins
// with.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "framework/base/log.h"
#include "framework/io/checkpoint.h"
#include "framework/model/model.h"
#include "framework/record/run_record.h"
#include "framework/run/experiment.h"
#include "framework/task/task.h"
#include "framework/text/tokenizer.h"

namespace quell {

struct Bench {
  ExperimentSpec spec;
  std::unique_ptr<const Checkpoint> checkpoint;
  std::unique_ptr<Model> model;           // without tensors
  std::unique_ptr<const Engine> engine;   // of evaluations
  std::optional<MatchedTensors> tensors;  // absent where the folder has no weights
  std::unique_ptr<Tokenizer> tokenizer;   // null where the folder has none
  std::unique_ptr<Task> task;
  std::vector<SitePlan> plan;  // [sites]
  size_t notes_logged = 0;     // of the task
  PartTime loading;
};

// Sets the number of threads. Throws ConfigError or DataError.
Bench load_bench(const ExperimentSpec& spec, const Plugins& plugins, Log& log);

// Logs what the task has to say that is new.
void log_notes(Bench& bench, Log& log);

}  // namespace quell
