// Outlier Suppression+ (Wei et al., EMNLP 2023): a shift of each channel makes ranges symmetric,
// and channels that exceed a threshold are scaled down to it; the linears that read them undo both.
// The threshold is the one whose quantized outputs are nearest to the float ones.

#include <ATen/ops/cat.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>
#include <algorithm>
#include <optional>

#include "framework/base/error.h"
#include "framework/plugin/registry.h"
#include "framework/solve/block_progress.h"
#include "transforms/scaling/groups.h"
#include "transforms/thresholds/segment_walk.h"
#include "transforms/thresholds/threshold_search.h"

namespace quell {
namespace {

constexpr const char* kName = "shift_scale";

enum class ShiftWhere {
  kBiases,  // where nothing has to be added for it
  kAlways,
  kNever,
};
enum class SearchNetwork { kQuantized, kFloat };

}  // namespace

template <>
struct EnumNames<ShiftWhere> {
  static constexpr std::pair<const char*, ShiftWhere> values[] = {{"biases", ShiftWhere::kBiases},
                                                                  {"always", ShiftWhere::kAlways},
                                                                  {"never", ShiftWhere::kNever}};
};
template <>
struct EnumNames<SearchNetwork> {
  static constexpr std::pair<const char*, SearchNetwork> values[] = {
      {"quantized", SearchNetwork::kQuantized}, {"float", SearchNetwork::kFloat}};
};
template <>
struct EnumNames<LossForm> {
  static constexpr std::pair<const char*, LossForm> values[] = {
      {"own", LossForm::kOwn}, {"published", LossForm::kPublished}};
};

namespace {

struct Params {
  ShiftWhere shift = ShiftWhere::kBiases;
  bool scale = true;
  SearchNetwork network = SearchNetwork::kQuantized;
  int64_t batches = 1;
  int64_t candidates = 100;
  std::optional<double> smallest_threshold;
  LossForm losses = LossForm::kOwn;
  bool early_abandon = true;
  std::vector<std::string> sites;

  template <class V>
  static void describe(V& v) {
    v("shift", &Params::shift,
      "biases: where the norm and all linears that read it have a bias, as published (LLaMA has "
      "none); always: they get one where there is none; never");
    v("scale", &Params::scale, "search a threshold for each group of linears; false: shift only");
    v("network", &Params::network,
      "what a group sees: the network with everything in front of it transformed and quantized, as "
      "published, or the float one");
    v("batches", &Params::batches,
      "so many calibration batches, from the first one on; published: one", at_least(1));
    v("candidates", &Params::candidates,
      "thresholds in equal steps from the largest value down; more where steps would exceed 0.5",
      at_least(1));
    v("smallest_threshold", &Params::smallest_threshold,
      "where the search ends; absent: as published, 1 for rows that are shifted, else 0.1",
      greater_than(0));
    v("losses", &Params::losses,
      "own: each linear's weight is quantized as the network does it; published: query, key and "
      "value (gate and up) as one matrix, and BLOOM's taken for one with all queries in front, so "
      "that the search compares heads which the model does not have");
    v("early_abandon", &Params::early_abandon,
      "a threshold goes on to further sequences only while it has the least loss; the choice is "
      "the same, but the stored losses of the others are lower bounds");
    v("sites", &Params::sites,
      "patterns of the activations that are transformed; empty: as published, what norms hand to "
      "the linears of layers, and the products of gates",
      or_single());
  }
};

// The extremes of the rows of all batches that observers may see.
Range extremes_of(const std::vector<GroupInput>& inputs) {
  Range all;
  for (const GroupInput& input : inputs) {
    const Batch& batch = *input.batch;
    at::Tensor rows = input.rows;
    if (batch.padding_unobserved) rows = RealRows(batch.offsets, batch.valid_lengths).of(rows);
    const Range own = feature_extremes(rows);
    all = all.min.defined() ? Range{at::minimum(all.min, own.min), at::maximum(all.max, own.max)}
                            : own;
  }
  return all;
}

class ShiftScale final : public Transform {
 public:
  explicit ShiftScale(const Params& params) : params_(params) {}

  std::vector<std::string> additions(Model& model, const SiteSet& quantized) const override;
  void run(PipelineContext& context) override;
  bool works_by_segment(Model& model) const override {
    return are_local(chosen_groups(model, params_.sites, UsualGroups::kNormsAndProducts, kName),
                     model);
  }
  bool works_on_block() const override { return true; }

 private:
  // What was done, for the log.
  struct Summary {
    int64_t groups = 0, shifted = 0, scaled = 0, channels = 0, added_biases = 0, losers = 0,
            thresholds = 0;

    NamedTensors state() const {
      return {{"summary",
               at::tensor({groups, shifted, scaled, channels, added_biases, losers, thresholds},
                          at::kLong)}};
    }
    void set_state(const NamedTensors& state) {
      const int64_t* of = stored_tensor(state, "summary").const_data_ptr<int64_t>();
      *this = {of[0], of[1], of[2], of[3], of[4], of[5], of[6]};
    }
  };

  std::vector<ScaleGroup*> groups_of(PipelineContext& context) const;
  bool shifts(const ScaleGroup& group) const;
  void rewrite(PipelineContext& context, ScaleGroup& group, std::vector<GroupInput> inputs);
  at::Tensor search(PipelineContext& context, const ScaleGroup& group,
                    const std::vector<GroupInput>& inputs, const Range& features, bool shifted,
                    Record& record);

  Params params_;
  Summary summary_;
};

std::vector<ScaleGroup*> ShiftScale::groups_of(PipelineContext& context) const {
  std::vector<ScaleGroup*> groups =
      chosen_groups(context.model, params_.sites, UsualGroups::kNormsAndProducts, kName);
  std::erase_if(groups, [&](const ScaleGroup* group) {
    return context.points.point(group->site) == nullptr;
  });
  if (groups.empty()) {
    throw ConfigError(fmt::format(
        "{}: none of the activations that it transforms is quantized; give them rules, such as "
        "`quant: {{include: placements/outlier_suppression_plus.yaml}}`",
        kName));
  }
  return groups;
}

std::vector<std::string> ShiftScale::additions(Model& model, const SiteSet& quantized) const {
  std::vector<GroupChange> changes;
  for (const ScaleGroup* group :
       chosen_groups(model, params_.sites, UsualGroups::kNormsAndProducts, kName)) {
    if (!quantized.contains(group->site)) continue;
    changes.push_back({group, params_.shift == ShiftWhere::kAlways && group->norm != nullptr});
  }
  return additions_to(changes, model);
}

bool ShiftScale::shifts(const ScaleGroup& group) const {
  if (group.norm == nullptr || params_.shift == ShiftWhere::kNever) return false;
  return params_.shift == ShiftWhere::kAlways || has_biases(group);
}

int64_t biases_of(const ScaleGroup& group) {
  return std::count_if(group.readers.begin(), group.readers.end(),
                       [](const Linear* reader) { return reader->bias.defined(); }) +
         (group.norm != nullptr && group.norm->bias.defined() ? 1 : 0);
}

at::Tensor ShiftScale::search(PipelineContext& context, const ScaleGroup& group,
                              const std::vector<GroupInput>& inputs, const Range& features,
                              bool shifted, Record& record) {
  constexpr double kSmallestShifted = 1, kSmallest = 0.1;
  const double smallest =
      params_.smallest_threshold.value_or(shifted ? kSmallestShifted : kSmallest);
  std::vector<double> thresholds = threshold_grid(features, params_.candidates, smallest);
  if (thresholds.empty()) return {};
  const auto loss =
      threshold_loss({group, context.model, context.points, features, params_.losses}, inputs);
  const ThresholdSearch found =
      search_thresholds(*loss, std::move(thresholds), params_.early_abandon);
  const auto rounds = static_cast<int64_t>(loss->rounds());
  const double threshold = found.thresholds[static_cast<size_t>(found.chosen)];
  summary_.thresholds += std::ssize(found.thresholds);
  summary_.losers += std::count_if(found.rounds.begin(), found.rounds.end(),
                                   [&](int64_t seen) { return seen < rounds; });
  record.columns.push_back({"threshold", at::tensor(found.thresholds, at::kDouble), "candidate"});
  record.columns.push_back({"loss", at::tensor(found.losses, at::kDouble), "candidate"});
  record.columns.push_back({"rounds", at::tensor(found.rounds, at::kLong), "candidate"});
  record.attributes.emplace_back("chosen", found.chosen);
  record.attributes.emplace_back("rounds", rounds);
  return scale_of(features, static_cast<float>(threshold));
}

void ShiftScale::rewrite(PipelineContext& context, ScaleGroup& group,
                         std::vector<GroupInput> inputs) {
  Record record{"searches", kName, {}, {{"site", name_of(group, context.model)}}};
  Range features = extremes_of(inputs);
  const bool shifted = shifts(group);
  if (shifted) {
    const int64_t biases = biases_of(group);
    const at::Tensor shift = shift_of(features);
    context.rewrites->add(group, {.shift = shift});
    summary_.added_biases += biases_of(group) - biases;
    features = {at::sub(features.min, shift), at::sub(features.max, shift)};
    for (GroupInput& input : inputs) input.rows.sub_(shift.to(input.rows.device()));
    record.columns.push_back({"shift", shift.to(at::kDouble), "feature"});
    ++summary_.shifted;
  }
  if (params_.scale) {
    const at::Tensor scale = search(context, group, inputs, features, shifted, record);
    if (scale.defined()) {
      context.rewrites->add(group, {.scale = scale});
      record.columns.push_back({"scale", scale.to(at::kDouble), "feature"});
      ++summary_.scaled;
      summary_.channels += scale.gt(1).sum().item<int64_t>();
    }
  }
  ++summary_.groups;
  if (!record.columns.empty()) context.records.push_back(std::move(record));
}

void ShiftScale::run(PipelineContext& context) {
  if (context.calibration.empty()) {
    throw ConfigError(fmt::format("{}: no calibration batches; raise calibration.samples", kName));
  }
  std::vector<ScaleGroup*> groups = groups_of(context);
  std::erase_if(groups,
                [&](const ScaleGroup* group) { return !context.scope.contains(group->site); });
  if (groups.empty()) return;  // of a block
  SegmentWalk walk(context, params_.batches, params_.network == SearchNetwork::kQuantized);
  BlockProgress progress(context);
  if (progress.next() > 0) summary_.set_state(progress.own());
  walk.take_over(progress);
  const auto all_done = [&] { return summary_.groups == std::ssize(groups); };
  context.execution->for_each_segment(
      [&](const Segment& segment) {
        if (all_done()) return;  // behind all of them
        for (ScaleGroup* group : groups) {
          if (!context.model.sites_of(segment).contains(group->site)) continue;
          rewrite(context, *group, walk.rows(segment, group->site));
          context.log.progress(kName, summary_.groups, std::ssize(groups));
        }
        if (all_done()) return;
        walk.advance(segment);
        walk.save(progress, segment, summary_.state());
      },
      {.first = progress.next()});
  progress.save_end(summary_.state());
  context.log.info(fmt::format(
      "{}: {} groups of linears, {} shifted, {} scaled ({} channels); {} of {} thresholds given up "
      "early",
      kName, summary_.groups, summary_.shifted, summary_.scaled, summary_.channels, summary_.losers,
      summary_.thresholds));
  if (summary_.added_biases == 0) return;
  context.log.info(
      fmt::format("{}: {} norms and linears without bias got one for the shift, which costs an "
                  "addition each and has no place in a Hugging Face folder",
                  kName, summary_.added_biases));
}

}  // namespace

void register_transform_shift_scale(Plugins& plugins) {
  add_plugin<ShiftScale, Params>(plugins.transforms, kName,
                                 "Outlier Suppression+: shift channels to symmetric ranges, and "
                                 "scale those beyond a searched threshold.",
                                 "OS+ sections 4.1 to 4.3");
}

}  // namespace quell
