// What became of each weight, and what is kept of it for --resume.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "framework/model/pipeline.h"

namespace quell {

// Mean squared errors of the outputs that were reconstructed.
struct RoundingResult {
  SiteId site = kNoSite;
  double nearest_error = 0;  // with values rounded to the nearest
  double learned_error = 0;
  int64_t changed = 0;  // values that do not take the nearest neighbour
  int64_t values = 0;
};

// The finished weights of a step, and progress on the one at hand.
class RoundingProgress {
 public:
  explicit RoundingProgress(PipelineContext& context);

  // Whether a stopped run finished the weight: its quantizer then has the rounding.
  bool take_over(SiteId site);
  // What a stopped run had reached with the weights at hand, which begin with `site`; empty:
  // nothing.
  NamedTensors reached(SiteId site) const;
  // Keeps `state` of the weights at hand, when it is time.
  template <class State>
  void keep(SiteId site, const State& state) {
    if (due()) save(prefix("reached", site), state());
  }
  void finish(const RoundingResult& result);
  const std::vector<RoundingResult>& results() const { return results_; }
  // Per weight: its site, both errors and how many values changed.
  Record record() const;

 private:
  using Clock = std::chrono::steady_clock;

  std::string prefix(const char* what, SiteId site) const;
  bool due() const;
  void save(const std::string& prefix, const NamedTensors& state);

  PipelineContext& context_;
  NamedTensors finished_;
  std::vector<RoundingResult> results_;
  Clock::time_point last_ = Clock::now();
  Clock::duration cost_{};  // of the last one
};

}  // namespace quell
