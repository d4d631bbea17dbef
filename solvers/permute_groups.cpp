// Range-based permutation (Bondarenko et al., EMNLP 2021, section 4): the features of an activation
// are divided into groups of like ranges, so that the few with outliers have scales of their own.

#include <ATen/ops/argsort.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/sub.h>
#include <fmt/format.h>
#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "framework/base/error.h"
#include "framework/model/pass.h"
#include "framework/model/pipeline.h"
#include "framework/plugin/registry.h"
#include "framework/quant/real_rows.h"
#include "framework/quant/scale_map.h"
#include "framework/solve/calibration.h"

namespace quell {
namespace {

constexpr const char* kName = "permute_groups";

// The network that shows the ranges of features.
enum class Network {
  kFloat,      // of all batches together
  kPublished,  // everything but the sites at hand estimates and quantizes; of the last batch
};

// Which sites have their groups in common.
enum class Shared { kNone, kLayer };

}  // namespace

template <>
struct EnumNames<Network> {
  static constexpr std::pair<const char*, Network> values[] = {{"float", Network::kFloat},
                                                               {"published", Network::kPublished}};
};

template <>
struct EnumNames<Shared> {
  static constexpr std::pair<const char*, Shared> values[] = {{"none", Shared::kNone},
                                                              {"layer", Shared::kLayer}};
};

namespace {

struct Params {
  std::vector<std::string> sites = {"activation:*"};
  Network network = Network::kFloat;
  Shared shared = Shared::kNone;
  int64_t first_batch = 0;
  int64_t batches = 0;

  template <class V>
  static void describe(V& v) {
    v("sites", &Params::sites,
      "patterns; of the sites that they name those with granularity feature_groups", or_single(),
      non_empty());
    v("network", &Params::network,
      "where the ranges of features come from. float: the float network, over all batches; "
      "published: a network in which the activations of all other sites are estimated and "
      "quantized, and of the last batch alone, as in the published code");
    v("shared", &Params::shared,
      "layer: all these sites of a layer have the groups of its feed-forward output");
    v("first_batch", &Params::first_batch, "the first calibration batch, counted from 0",
      at_least(0));
    v("batches", &Params::batches, "so many calibration batches; 0: all from there on",
      at_least(0));
  }
};

// What was seen of a site.
struct Seen {
  Range range;  // [features], of each feature

  // r of the paper, float32 [features].
  at::Tensor ranges() const { return at::sub(range.max, range.min); }
};

class PermuteGroups final : public Solver {
 public:
  explicit PermuteGroups(const Params& params) : params_(params) {}

  void run(PipelineContext& context) override;

  bool works_by_segment(Model& /*model*/) const override { return true; }
  // A block runs on all batches.
  bool works_on_block() const override { return selection().all(); }

 private:
  BatchSelection selection() const { return {params_.first_batch, params_.batches}; }
  std::vector<SiteId> chosen_sites(const PipelineContext& context) const;
  PassOptions pass_options(const PipelineContext& context, const SiteSet& chosen,
                           std::vector<SiteId>& estimated) const;
  std::map<SiteId, Seen> look(PipelineContext& context, const std::vector<SiteId>& sites) const;
  SiteId source_of(SiteId id, const std::vector<SiteId>& sites,
                   const PipelineContext& context) const;

  Params params_;
};

const Site& site_of(const PipelineContext& context, SiteId id) {
  return context.model.sites()[static_cast<size_t>(id)];
}

std::vector<SiteId> PermuteGroups::chosen_sites(const PipelineContext& context) const {
  std::vector<SiteId> chosen;
  for (size_t i = 0; i < context.model.sites().size(); ++i) {
    const auto id = static_cast<SiteId>(i);
    const Site& site = context.model.sites()[i];
    const SitePoint* point = context.points.point(id);
    if (site.kind != SiteKind::kActivation || point == nullptr || !context.scope.contains(id) ||
        point->spec.granularity != Granularity::kFeatureGroups ||
        !matches_any(site, params_.sites)) {
      continue;
    }
    if (site.heads > 0) {
      throw ConfigError(
          fmt::format("{}: {} has one column per token, and no features; give it another "
                      "granularity, or leave it out of `sites`",
                      kName, site.key()));
    }
    chosen.push_back(id);
  }
  return chosen;
}

// With the sites whose ranges are estimated meanwhile.
PassOptions PermuteGroups::pass_options(const PipelineContext& context, const SiteSet& chosen,
                                        std::vector<SiteId>& estimated) const {
  PassOptions options;
  options.tap_matrices = TapMatrices::kCompact;
  if (params_.network == Network::kFloat) return options;
  for (size_t i = 0; i < context.model.sites().size(); ++i) {
    const auto id = static_cast<SiteId>(i);
    SitePoint* point = context.points.point(id);
    const bool weight = context.model.sites()[i].kind == SiteKind::kWeight;
    if (point == nullptr || weight || chosen.contains(id) || !context.scope.contains(id)) continue;
    options.quantize.insert(id);
    if (point->spec.is_dynamic()) continue;
    point->observer->reset();
    point->calibrated = false;  // what it had is written over
    options.observe.insert(id);
    estimated.push_back(id);
  }
  return options;
}

// The range of each feature of every site.
std::map<SiteId, Seen> PermuteGroups::look(PipelineContext& context,
                                           const std::vector<SiteId>& sites) const {
  SiteSet chosen;
  for (const SiteId id : sites) chosen.insert(id);
  std::vector<SiteId> estimated;
  const PassOptions options = pass_options(context, chosen, estimated);
  std::span<const Batch> batches = selected_batches(context, selection(), kName);
  if (params_.network == Network::kPublished) {
    batches = deciding_batches(context, batches, estimated);
  }
  const QuantSpec by_feature{.granularity = Granularity::kChannel, .axis = 1};
  std::map<SiteId, Seen> seen;
  const auto pass = [&](size_t index) {
    const Batch& batch = batches[index];
    PassOptions own = options;
    if (batch.padding_unobserved) own.observed_rows.emplace(batch.offsets, batch.valid_lengths);
    own.tap = [&, real = own.observed_rows](SiteId id, const at::Tensor& before,
                                            const at::Tensor&) {
      if (!chosen.contains(id)) return;
      Range range = min_max(real ? real->of(before) : before, by_feature);
      Range& known = seen[id].range;
      if (known.min.defined() && params_.network == Network::kFloat) {
        range = {at::minimum(known.min, range.min), at::maximum(known.max, range.max)};
      }
      known = std::move(range);
    };
    return std::make_shared<const Pass>(context.points, std::move(own));
  };
  context.execution->run(batches, pass, BatchOrder::kInOrder, {}, [&](int64_t done, int64_t total) {
    context.log.progress(kName, done, total);
  });
  return seen;
}

// The site whose groups it has.
SiteId PermuteGroups::source_of(SiteId id, const std::vector<SiteId>& sites,
                                const PipelineContext& context) const {
  const int64_t layer = site_of(context, id).layer;
  if (params_.shared == Shared::kNone || layer < 0) return id;
  const auto source = std::find_if(sites.rbegin(), sites.rend(), [&](SiteId other) {
    return site_of(context, other).layer == layer && site_of(context, other).role == "ffn_output";
  });
  if (source != sites.rend()) return *source;
  throw ConfigError(
      fmt::format("{}: `shared: layer` takes the groups of {} from the feed-forward output of its "
                  "layer, which is not among the sites; give that granularity feature_groups, or "
                  "write `shared: none`",
                  kName, site_of(context, id).key()));
}

// Feature -> group: groups are equal parts of the features in ascending order of their ranges;
// features of equal ranges keep their order.
std::vector<int64_t> groups_by_range(const at::Tensor& ranges, int64_t groups) {
  const at::Tensor order = at::argsort(ranges, /*stable=*/true);
  const int64_t* feature = order.const_data_ptr<int64_t>();
  const int64_t size = ranges.numel() / groups;
  std::vector<int64_t> group_of(static_cast<size_t>(ranges.numel()));
  for (int64_t i = 0; i < ranges.numel(); ++i) {
    group_of[static_cast<size_t>(feature[i])] = i / size;
  }
  return group_of;
}

void check_ranges(const Site& site, const QuantSpec& spec, const at::Tensor& ranges,
                  int64_t expected) {
  if (ranges.numel() != expected) {
    throw ConfigError(
        fmt::format("{}: {} has {} features, but its layer shares the groups of {} features; write "
                    "`shared: none`, or leave it out of `sites`",
                    kName, site.key(), expected, ranges.numel()));
  }
  if (spec.groups > expected || expected % spec.groups != 0) {
    throw ConfigError(
        fmt::format("{}: `groups: {}` of {} does not divide its {} features; choose a divisor",
                    kName, spec.groups, site.key(), expected));
  }
  if (ranges.isfinite().all().item<bool>()) return;
  throw Error(
      fmt::format("{}: the range of a feature is not finite; the model or its input produces NaN "
                  "or infinity there",
                  site.key()));
}

void PermuteGroups::run(PipelineContext& context) {
  const std::vector<SiteId> sites = chosen_sites(context);
  if (sites.empty()) {
    const SiteRange scope = context.scope;
    if (scope.first > 0 || scope.end < std::ssize(context.model.sites())) return;  // of one block
    throw ConfigError(
        fmt::format("{}: none of the sites has granularity feature_groups; give it to some of "
                    "them, with the number of `groups`",
                    kName));
  }
  const std::map<SiteId, Seen> seen = look(context, sites);
  std::map<std::pair<SiteId, int64_t>, std::shared_ptr<const FeatureGroups>> known;
  for (const SiteId id : sites) {
    const Site& site = site_of(context, id);
    const QuantSpec& spec = context.points.point(id)->spec;
    const SiteId source = source_of(id, sites, context);
    const at::Tensor ranges = seen.at(source).ranges();
    check_ranges(site, spec, ranges, seen.at(id).range.min.numel());
    auto& groups = known[{source, spec.groups}];
    if (groups == nullptr) {
      groups = std::make_shared<FeatureGroups>(groups_by_range(ranges, spec.groups), spec.groups);
    }
    context.points.set_feature_groups(id, groups);
    context.records.push_back(
        {"feature_ranges", site.name, {{"range", ranges.to(at::kDouble), "feature", "value"}}});
  }
  context.log.info(fmt::format("{}: {} sites, {} permutations", kName, sites.size(), known.size()));
}

}  // namespace

void register_solver_permute_groups(Plugins& plugins) {
  add_plugin<PermuteGroups, Params>(
      plugins.solvers, kName,
      "Divide features into groups of like ranges, where the granularity is feature_groups.",
      "Qualcomm, range-based permutation of per-embedding-group quantization")
      .breaks("gives_parameters_to_all_sites", "their ranges are found afterwards, by `calibrate`");
}

}  // namespace quell
