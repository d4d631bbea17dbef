// A network that runs again and again on the same sequences while the parameters of some activation
// sites change: each time from the first segment where they did.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "framework/model/pipeline.h"

namespace quell {

class ResumablePass {
 public:
  // What the varied sites of each segment quantize with.
  using Setting = std::vector<std::vector<float>>;
  // The least that it runs on: a sequence, or a whole batch.
  struct Unit {
    size_t batch = 0;
    int64_t sequence = -1;  // -1: all of them
  };
  // What it runs on at once: indices of units. Either sequences, or one whole batch.
  using Group = std::span<const size_t>;
  struct Effort {
    int64_t sequences = 0;         // runs of the network on one sequence
    int64_t segments = 0;          // runs of one segment on a group
    int64_t resumed_segments = 0;  // those that were left out because their state was known
  };

  // What is quantized is said by `pass`; `varied` are the sites whose parameters change.
  // `cache_bytes`: of memory for states between segments.
  ResumablePass(PipelineContext& context, const Pass& pass, const std::vector<SiteId>& varied,
                int64_t cache_bytes);

  // Whether batches can be divided into sequences: not when something sees how wide a matrix of
  // attention is, which its batch decides.
  bool divides_batches() const;
  // Adds units, numbered from 0; before the first run.
  void add(Unit unit) { units_.push_back({unit, nullptr, {}}); }
  const Unit& unit(size_t index) const { return units_[index].unit; }
  size_t size() const { return units_.size(); }

  // What the network is set to now.
  Setting current_setting() const;
  // The outputs of each unit. `setting` is what the network is set to, and must stay where it is as
  // long as the pass lives. Several threads may run units of their own at once.
  std::vector<Outputs> run(Group group, const Setting& setting);

  Effort effort() const { return {sequences_, segments_, resumed_}; }

 private:
  struct Visited {
    Unit unit;
    const Setting* last;                       // that it ran with
    std::vector<std::optional<State>> states;  // in which it entered each segment, where kept
  };

  Batch batch_of(Group group) const;
  size_t first_changed(const Visited& unit, const Setting& setting) const;
  size_t first_segment(Group group, const Setting& setting) const;
  State entered(Group group, size_t segment) const;
  void keep(Group group, size_t segment, const State& state, const Batch& batch);

  PipelineContext& context_;
  const Pass& pass_;
  std::vector<std::vector<SiteId>> varied_;  // by segment
  std::vector<Visited> units_;
  std::atomic<int64_t> cache_bytes_;  // still free
  std::atomic<int64_t> sequences_ = 0, segments_ = 0, resumed_ = 0;
};

}  // namespace quell
