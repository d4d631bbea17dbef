#include "framework/solve/block_progress.h"

#include <fmt/format.h>
#include <span>
#include <string>
#include <utility>

#include "framework/solve/stored_quantizers.h"
#include "framework/solve/stored_records.h"

namespace quell {
namespace {

constexpr const char *kChanges = "changes/", *kSites = "sites/", *kRecords = "records/",
                     *kOwn = "own/";

size_t index_of(const Segment& segment, const Model& model) {
  size_t index = 0;
  while (&model.segments()[index] != &segment) ++index;
  return index;
}

}  // namespace

BlockProgress::BlockProgress(PipelineContext& context)
    : context_(context),
      first_change_(context.rewrites->size()),
      first_record_(context.records.size()),
      walk_(context.progress, context.points, context.model.device()) {
  if (next() == 0) return;
  const NamedTensors& saved = walk_.collected();
  context.rewrites->add_all(part_of(saved, kChanges));
  set_calibration(part_of(saved, kSites), context.points);
  for (Record& record : unpack_records(part_of(saved, kRecords))) {
    context.records.push_back(std::move(record));
  }
  context.log.info(
      fmt::format("goes on with block {} of {}", next() + 1, context.model.segments().size()));
}

NamedTensors BlockProgress::own() const { return part_of(walk_.collected(), kOwn); }

NamedTensors BlockProgress::state(size_t next, const NamedTensors& own) const {
  NamedTensors all;
  add_named(kChanges, context_.rewrites->state(first_change_), all);
  const auto& segments = context_.model.segments();
  const SiteId end = next < segments.size() ? segments[next].first_site
                                            : static_cast<SiteId>(context_.model.sites().size());
  add_named(kSites, calibration_of(context_.points, {0, end}), all);
  add_named(kRecords, pack_records(std::span(context_.records).subspan(first_record_)), all);
  add_named(kOwn, own, all);
  return all;
}

void BlockProgress::save(const Segment& done, const StateStore& states, size_t batches,
                         const NamedTensors& own) {
  if (!walk_.due()) return;
  const size_t next = index_of(done, context_.model) + 1;
  walk_.save(next, states, batches, state(next, own));
}

void BlockProgress::save_end(const NamedTensors& own) {
  const size_t end = context_.model.segments().size();
  if (walk_.keeps() && next() < end) walk_.save_end(end, state(end, own));
}

}  // namespace quell
