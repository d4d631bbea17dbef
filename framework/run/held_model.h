// How a run holds its model in memory: whole, layer by layer, or what an engine makes of it.
#pragma once

#include <filesystem>
#include <memory>

#include "framework/model/execution.h"
#include "framework/model/residency.h"
#include "framework/model/rewrites.h"
#include "framework/run/bench.h"

namespace quell {

struct HeldModel {
  std::shared_ptr<Rewrites> rewrites;
  std::unique_ptr<Residency> residency;  // null where layers do not take turns
  std::shared_ptr<Execution> execution;
};

// Loads a model to its devices, or says where its tensors come from when they are needed.
// `evaluated_only`: nothing but the stages of the experiment is asked of it. `progress`: a folder
// for states between layers where they lie on disk; empty: the system's for temporary files. Throws
// ConfigError where a step needs the whole model in memory, DataError where tensors are missing.
// Bench and points must live as long as the result.
HeldModel hold_model(Bench& bench, SitePoints& points, bool evaluated_only,
                     const std::filesystem::path& progress);

}  // namespace quell
