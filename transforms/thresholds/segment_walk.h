// A network that is rewritten while it runs, segment by segment, on a few batches.
#pragma once

#include <memory>
#include <vector>

#include "framework/model/pipeline.h"
#include "transforms/thresholds/threshold_loss.h"

namespace quell {

class SegmentWalk {
 public:
  // On the first `batches` calibration batches. With `quantized` all sites that are to be quantized
  // are, each in the range that its observer sees of these batches as they pass, and weights in
  // theirs; all ranges are forgotten before and after.
  SegmentWalk(PipelineContext& context, int64_t batches, bool quantized);
  ~SegmentWalk();
  SegmentWalk(const SegmentWalk&) = delete;

  // The rows of a site of the next segment, in front of its quantizer, in each batch: what follows
  // from the segment as it is now.
  std::vector<GroupInput> rows(const Segment& segment, SiteId site);
  // Goes on behind the segment.
  void advance(const Segment& segment);

 private:
  void run(const Segment& segment, const std::function<Tap(size_t batch)>& tap,
           const std::function<void(size_t batch, State state)>& take);
  // What a pass quantizes and observes of the segment.
  PassOptions options_of(const Segment& segment);
  void forget();

  PipelineContext& context_;
  bool quantized_;
  std::vector<ModelInput> inputs_;
  std::unique_ptr<StateStore> states_;  // in front of the next segment
};

}  // namespace quell
