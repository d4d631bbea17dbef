// Both pipelines on the same sentences, and what comes of it as text and JSON.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "tests/benchmarks/published/ours.h"

namespace quell::published {

Pipeline published_pipeline(const Problem& problem, const Setup& setup);
// What a user gets, with the fine stage where this build has it.
Variant whole_pipeline(const Plugins& plugins);

// Interleaved rounds of the published pipeline (timed on a part and scaled) and of quell's (whole).
nlohmann::json compare_times(const Problem& problem, int64_t rounds, const Sample& sample,
                             const Plugins& plugins);

// Both from beginning to end: losses, ratio, parameters, metrics. `ratios` > 0 tries only the first
// ones on the published side, and `golden` (a run of real.json, may be null) is what the true
// published code found.
nlohmann::json compare_results(const Problem& problem, int64_t ratios, const nlohmann::json& golden,
                               const Plugins& plugins);

// What each lever contributes to the search: quell's, with one after the other switched on. What is
// published is computed from a timed part of it.
nlohmann::json compare_levers(const Problem& problem, int64_t rounds, const Sample& sample,
                              const Plugins& plugins);

// The output of the first attention norm for one padded batch [batch * length, hidden].
at::Tensor norm_output(const Problem& problem, const Plugins& plugins);

}  // namespace quell::published
