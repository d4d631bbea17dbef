#include "framework/solve/calibration.h"

#include <fmt/format.h>
#include <algorithm>
#include <cmath>
#include <map>

#include "framework/base/error.h"
#include "framework/quant/scale_map.h"

namespace quell {
namespace {

std::string state_name(SiteId id, size_t part) { return fmt::format("{}.{}", id, part); }

// An observing pass, and which activations it is for.
struct Observation {
  PassOptions options;
  std::vector<SiteId> sites;
};

// Resets the observers.
Observation start_observing(PipelineContext& context, const SiteSet& skipped) {
  Observation observation;
  for (size_t i = 0; i < context.model.sites().size(); ++i) {
    const auto id = static_cast<SiteId>(i);
    SitePoint* point = context.points.point(id);
    if (point == nullptr || !context.scope.contains(id)) continue;
    const bool weight = context.model.sites()[i].kind == SiteKind::kWeight;
    const bool observed = !weight && !skipped.contains(id) && !point->spec.is_dynamic();
    // A site that quantizes while others are observed has its own range first.
    if (point->during_calibration == DuringCalibration::kObserveAndQuantize &&
        (observed || point->calibrated)) {
      observation.options.quantize.insert(id);
    }
    if (!observed) continue;
    point->observer->reset();
    observation.options.observe.insert(id);
    observation.sites.push_back(id);
  }
  return observation;
}

// What the states of the observers follow from, besides the float network and the data. Empty where
// that is not all: some site quantizes meanwhile.
std::string origin_of(const Observation& observation, BatchSelection selection,
                      const PipelineContext& context) {
  if (!observation.options.quantize.empty()) return "";
  std::string text = "observers\n";
  if (!selection.all()) text += fmt::format("batches {} {}\n", selection.first, selection.count);
  for (const SiteId id : observation.sites) {
    const SitePoint& point = *context.points.point(id);
    text += fmt::format("{} {} {}\n", context.model.sites()[static_cast<size_t>(id)].key(),
                        granularity_text(point.spec), point.observer_settings);
  }
  return text;
}

bool take_states(const std::vector<SiteId>& observed, const std::string& origin,
                 const PipelineContext& context) {
  const auto known = context.shared->find(origin);
  if (!known) return false;
  for (const SiteId id : observed) {
    std::vector<at::Tensor> state;
    for (auto part = known->find(state_name(id, 0)); part != known->end();
         part = known->find(state_name(id, state.size()))) {
      state.push_back(part->second);
    }
    context.points.point(id)->observer->set_state(state);
  }
  return true;
}

// Only where all of them can be taken over.
void keep_states(const std::vector<SiteId>& observed, const std::string& origin,
                 const PipelineContext& context) {
  NamedTensors states;
  for (const SiteId id : observed) {
    const std::vector<at::Tensor> state = context.points.point(id)->observer->state();
    if (state.empty()) return;
    for (size_t part = 0; part < state.size(); ++part) states[state_name(id, part)] = state[part];
  }
  context.shared->keep(origin, states);
}

// Ranges of the observed sites that a stopped run had already.
using KnownRanges = std::map<SiteId, Range>;

KnownRanges observe_batches(PipelineContext& context, std::span<const Batch> batches,
                            const Observation& observation) {
  const auto& [options, observed] = observation;
  KnownRanges known;
  Resumable resumable{&context.progress, "observed"};
  resumable.collected = [&](size_t next) {
    const SiteId end = context.model.segments()[next].first_site;
    NamedTensors ranges;
    for (const SiteId id : observed) {
      if (id >= end) continue;
      const auto found = known.find(id);
      const Range range =
          found != known.end() ? found->second : context.points.point(id)->observer->range();
      ranges[fmt::format("{}.min", id)] = range.min;
      ranges[fmt::format("{}.max", id)] = range.max;
    }
    return ranges;
  };
  resumable.take = [&](const NamedTensors& ranges) {
    for (const SiteId id : observed) {
      const auto min = ranges.find(fmt::format("{}.min", id));
      if (min == ranges.end()) continue;
      known[id] = {min->second, stored_tensor(ranges, fmt::format("{}.max", id))};
    }
  };
  const auto pass = [&](size_t index) {
    const Batch& batch = batches[index];
    PassOptions own = options;
    if (batch.padding_unobserved) own.observed_rows.emplace(batch.offsets, batch.valid_lengths);
    return std::make_shared<const Pass>(context.points, std::move(own));
  };
  context.execution->run(
      batches, pass, BatchOrder::kInOrder, {},
      [&](int64_t done, int64_t total) { context.log.progress("calibrate", done, total); },
      resumable);
  return known;
}

void take_range(const Site& site, SitePoint& point, const Range& range, const at::Tensor& values) {
  const float* min = range.min.const_data_ptr<float>();
  const float* max = range.max.const_data_ptr<float>();
  for (int64_t i = 0; i < range.min.numel(); ++i) {
    if (std::isfinite(min[i]) && std::isfinite(max[i])) continue;
    throw Error(
        fmt::format("{}: the observed range [{}, {}] is not finite; the model or its input "
                    "produces NaN or infinity there",
                    site.key(), min[i], max[i]));
  }
  point.quantizer->init(range, values);
  point.range = range;
  point.calibrated = true;
}

void observe_weight(PipelineContext& context, SiteId id) {
  const Site& site = context.model.sites()[static_cast<size_t>(id)];
  SitePoint& point = *context.points.point(id);
  try {
    point.observer->reset();
    point.observer->observe(context.model.weight(id));
    use_range(site, point, context.model.weight(id));
  } catch (const ConfigError& error) {
    throw ConfigError(fmt::format("{}: {}", site.key(), error.what()));
  }
  context.points.weight_changed(id);
}

}  // namespace

void use_range(const Site& site, SitePoint& point, const at::Tensor& values) {
  take_range(site, point, point.observer->range(), values);
}

void observe_weights(PipelineContext& context, const SiteSet& skipped) {
  context.execution->for_each_segment([&](const Segment& segment) {
    for (const ModelTensor& tensor : segment.tensors) {
      const SiteId id = tensor.site;
      if (id == kNoSite || context.points.point(id) == nullptr || skipped.contains(id)) continue;
      observe_weight(context, id);
    }
  });
}

std::span<const Batch> selected_batches(const PipelineContext& context, BatchSelection selection,
                                        const std::string& step) {
  const auto all = static_cast<int64_t>(context.calibration.size());
  if (all == 0) throw ConfigError("no calibration batches; raise calibration.samples");
  const int64_t count = selection.count == 0 ? all - selection.first : selection.count;
  if (count <= 0 || selection.first + count > all) {
    throw ConfigError(fmt::format(
        "{}: `first_batch: {}` and `batches: {}` reach beyond the {} calibration batches; raise "
        "calibration.samples, or lower one of the two",
        step, selection.first, selection.count, all));
  }
  return context.calibration.subspan(static_cast<size_t>(selection.first),
                                     static_cast<size_t>(count));
}

std::span<const Batch> deciding_batches(const PipelineContext& context,
                                        std::span<const Batch> batches,
                                        std::span<const SiteId> observed) {
  const bool forgets = std::all_of(observed.begin(), observed.end(), [&](SiteId id) {
    return context.points.point(id)->observer->last_batch_decides();
  });
  const bool whole =
      context.scope.first == 0 && context.scope.end >= std::ssize(context.model.sites());
  return forgets && whole ? batches.last(1) : batches;
}

void observe_activations(PipelineContext& context, const SiteSet& skipped,
                         BatchSelection selection) {
  const Observation observation = start_observing(context, skipped);
  const std::vector<SiteId>& observed = observation.sites;
  if (observed.empty()) return;
  const std::span<const Batch> batches = selected_batches(context, selection, "calibrate");
  const std::string origin =
      context.shared == nullptr ? "" : origin_of(observation, selection, context);
  KnownRanges known;
  if (origin.empty() || !take_states(observed, origin, context)) {
    known = observe_batches(context, deciding_batches(context, batches, observed), observation);
    if (!origin.empty()) keep_states(observed, origin, context);
  }
  for (const SiteId id : observed) {
    SitePoint& point = *context.points.point(id);
    const auto found = known.find(id);
    take_range(context.model.sites()[id], point,
               found != known.end() ? found->second : point.observer->range(), {});
  }
}

}  // namespace quell
