// A network, or a block of it, that is rewritten while it runs, segment by segment, on a few
// batches.
#pragma once

#include <memory>
#include <vector>

#include "framework/model/pipeline.h"
#include "framework/solve/block_progress.h"
#include "transforms/thresholds/threshold_loss.h"

namespace quell {

class SegmentWalk {
 public:
  // On the first `batches` calibration batches. With `quantized` all sites that are to be quantized
  // are, each in the range that its observer sees of these batches as they pass, and weights in
  // theirs; these ranges are forgotten before and after.
  SegmentWalk(PipelineContext& context, int64_t batches, bool quantized);
  ~SegmentWalk();
  SegmentWalk(const SegmentWalk&) = delete;

  // The rows of a site of the next segment, in front of its quantizer, in each batch: what follows
  // from the segment as it is now.
  std::vector<GroupInput> rows(const Segment& segment, SiteId site);
  // Goes on behind the segment.
  void advance(const Segment& segment);
  // Keeps how far the walk came, and goes on there.
  void save(BlockProgress& progress, const Segment& done, const NamedTensors& own) const {
    progress.save(done, *states_, inputs_.size(), own);
  }
  void take_over(const BlockProgress& progress) { progress.take_states(*states_, inputs_.size()); }

 private:
  void run(const Segment& segment, const std::function<Tap(size_t batch)>& tap,
           const std::function<void(size_t batch, State state)>& take);
  // What a pass quantizes and observes of the segment.
  PassOptions options_of(const Segment& segment);
  void forget();
  void forget_copies(const Segment& segment);

  PipelineContext& context_;
  bool quantized_;
  std::vector<ModelInput> inputs_;
  std::unique_ptr<StateStore> states_;  // in front of the next segment
};

}  // namespace quell
