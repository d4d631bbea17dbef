#include "transforms/thresholds/segment_walk.h"

#include <algorithm>

#include "framework/solve/calibration.h"

namespace quell {

SegmentWalk::SegmentWalk(PipelineContext& context, int64_t batches, bool quantized)
    : context_(context), quantized_(quantized) {
  const auto count = std::min(static_cast<size_t>(batches), context.calibration.size());
  for (const Batch& batch : context.calibration.first(count)) {
    inputs_.push_back(context.model.bind(batch));
  }
  states_ = context.execution->first_states(count);
  forget();
}

SegmentWalk::~SegmentWalk() { forget(); }

void SegmentWalk::forget() {
  for (SiteId id = 0; quantized_ && id < std::ssize(context_.model.sites()); ++id) {
    SitePoint* point = context_.points.point(id);
    if (point == nullptr || !context_.scope.contains(id)) continue;
    point->calibrated = point->spec.is_dynamic();
    context_.points.weight_changed(id);
  }
}

PassOptions SegmentWalk::options_of(const Segment& segment) {
  PassOptions options;
  if (!quantized_) return options;
  SiteSet known;  // weights that have not changed since
  const SiteRange sites = context_.model.sites_of(segment);
  for (SiteId id = sites.first; id < sites.end; ++id) {
    SitePoint* point = context_.points.point(id);
    if (point == nullptr) continue;
    options.quantize.insert(id);
    if (context_.model.sites()[static_cast<size_t>(id)].kind == SiteKind::kWeight) {
      if (point->calibrated) known.insert(id);
    } else if (!point->spec.is_dynamic()) {
      point->observer->reset();
      options.observe.insert(id);
    }
  }
  PipelineContext block{context_.model,
                        context_.points,
                        {},
                        context_.log,
                        execute_segment(segment, inputs_, *states_)};
  observe_weights(block, known);
  return options;
}

void SegmentWalk::run(const Segment& segment, const std::function<Tap(size_t batch)>& tap,
                      const std::function<void(size_t batch, State state)>& take) {
  const PassOptions options = options_of(segment);
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const Batch& batch = inputs_[i].batch;
    PassOptions own = options;
    own.tap = tap(i);
    own.tap_matrices = TapMatrices::kCompact;
    if (batch.padding_unobserved) own.observed_rows.emplace(batch.offsets, batch.valid_lengths);
    State state = states_->get(i);
    segment.run(state, inputs_[i], Pass(context_.points, std::move(own)));
    take(i, std::move(state));
  }
}

std::vector<GroupInput> SegmentWalk::rows(const Segment& segment, SiteId site) {
  std::vector<GroupInput> found(inputs_.size());
  const auto tap = [&](size_t batch) {
    return [&, batch, site](SiteId id, const at::Tensor& before, const at::Tensor&) {
      if (id == site) found[batch].rows = before.clone();
    };
  };
  run(segment, tap, [&](size_t batch, State) {
    found[batch].batch = &inputs_[batch].batch;
    found[batch].state = states_->get(batch);
  });
  forget_copies(segment);
  return found;
}

// Of weights: a search needs the memory more than the next run of the segment needs them.
void SegmentWalk::forget_copies(const Segment& segment) {
  const SiteRange sites = context_.model.sites_of(segment);
  for (SiteId id = sites.first; id < sites.end; ++id) context_.points.weight_changed(id);
}

void SegmentWalk::advance(const Segment& segment) {
  run(
      segment, [](size_t) { return Tap(); },
      [&](size_t batch, State state) { states_->put(batch, std::move(state)); });
  forget_copies(segment);
}

}  // namespace quell
