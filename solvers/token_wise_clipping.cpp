// Token-wise clipping, coarse stage (Outlier Suppression, section 4.2): one share of tokens for all
// activations, the one whose quantized network is nearest to the float network. Beyond the paper:
// one share per group of sites after it.

#include <fmt/format.h>
#include <algorithm>
#include <limits>

#include "framework/base/error.h"
#include "framework/config/enum_name.h"
#include "framework/model/pipeline.h"
#include "framework/plugin/registry.h"
#include "framework/solve/calibration.h"
#include "solvers/token_clipping/ratio_grid.h"
#include "solvers/token_clipping/ratio_search.h"

namespace quell {
namespace {

constexpr const char* kName = "token_wise_clipping";

// Which sites have a ratio of their own in the end.
enum class RatioPer { kAll, kRole, kLayer, kSite };

}  // namespace

template <>
struct EnumNames<RatioPer> {
  static constexpr std::pair<const char*, RatioPer> values[] = {{"all", RatioPer::kAll},
                                                                {"role", RatioPer::kRole},
                                                                {"layer", RatioPer::kLayer},
                                                                {"site", RatioPer::kSite}};
};

namespace {

struct Params {
  double step = 0;
  int64_t iterations = 0;
  Targets targets = Targets::kOriginal;
  bool quantize_weights = false;
  RatioPer ratio_per = RatioPer::kAll;
  int64_t passes = 1;
  bool early_abandon = true;
  int64_t cache_megabytes = 1024;

  template <class V>
  static void describe(V& v) {
    v("step", &Params::step,
      "distance of neighbouring ratios, which begin at 1; 0: as published, 0.01, and less where "
      "batch size times sequence length exceeds 32 * 128",
      in_range(0, 0.5));
    v("iterations", &Params::iterations,
      "number of ratios; 0: as published, a span of 0.1 at 8 bits, 0.3 at 6, 0.9 at 4, divided by "
      "the step; 0.2 at 7 and 0.6 at 5; the smallest bits count",
      at_least(0));
    v("targets", &Params::targets,
      "outputs to come near to: of the float network that the pipeline started with, or of the "
      "one after the transforms");
    v("quantize_weights", &Params::quantize_weights,
      "search with quantized weights; published: float ones");
    v("ratio_per", &Params::ratio_per,
      "which sites share a ratio; other than all, each role, layer or site tries all ratios in "
      "turn, after the search for all of them");
    v("passes", &Params::passes, "times that this is repeated, while it still helps", at_least(1));
    v("early_abandon", &Params::early_abandon,
      "give a ratio up once it cannot win any more; the choice is the same, but its stored loss is "
      "a lower bound");
    v("cache_megabytes", &Params::cache_megabytes,
      "memory for states between layers, from which ratios with equal parameters go on",
      at_least(0));
  }
};

class TokenWiseClipping final : public Solver {
 public:
  explicit TokenWiseClipping(const Params& params) : params_(params) {}

  void run(PipelineContext& context) override;

 private:
  void search(PipelineContext& context, RatioSearch& search,
              const std::vector<SiteId>& searched) const;
  void refine(PipelineContext& context, RatioSearch& search,
              const std::vector<SiteId>& searched) const;

  Params params_;
};

std::vector<SiteId> searched_sites(const PipelineContext& context) {
  std::vector<SiteId> searched;
  for (size_t i = 0; i < context.model.sites().size(); ++i) {
    const auto id = static_cast<SiteId>(i);
    const bool activation = context.model.sites()[i].kind == SiteKind::kActivation;
    if (activation && token_observer(context, id) != nullptr) searched.push_back(id);
  }
  if (!searched.empty()) return searched;
  throw ConfigError(
      fmt::format("{}: no quantized activation has an observer that clips tokens; give "
                  "some of them `observer: prune_minmax`, or use `calibrate`",
                  kName));
}

int64_t fewest_bits(const PipelineContext& context, const std::vector<SiteId>& searched) {
  int64_t bits = std::numeric_limits<int64_t>::max();
  for (const SiteId id : searched) bits = std::min(bits, context.points.point(id)->spec.bits);
  return bits;
}

std::string group_name(const Site& site, RatioPer per) {
  if (per == RatioPer::kRole) return site.role;
  if (per == RatioPer::kSite) return site.key();
  return site.layer < 0 ? "outside of layers" : fmt::format("layer {}", site.layer);
}

// In the order in which the sites run.
std::vector<RatioGroup> groups_of(const PipelineContext& context,
                                  const std::vector<SiteId>& searched, RatioPer per) {
  std::vector<RatioGroup> groups;
  for (const SiteId id : searched) {
    const std::string name = group_name(context.model.sites()[id], per);
    auto group = std::find_if(groups.begin(), groups.end(),
                              [&](const RatioGroup& other) { return other.name == name; });
    if (group == groups.end()) group = groups.insert(groups.end(), {name, {}});
    group->sites.push_back(id);
  }
  return groups;
}

void report(const RatioSearchResult& result, const RatioSearch& search,
            const PipelineContext& context) {
  const auto batches = std::ssize(context.calibration);
  const OutputLoss::Effort effort = search.effort();
  const RatioCandidate& best = result.candidates[static_cast<size_t>(result.chosen)];
  const auto given_up =
      std::count_if(result.candidates.begin(), result.candidates.end(),
                    [&](const RatioCandidate& tried) { return tried.batches < batches; });
  context.log.info(fmt::format(
      "{}: ratio {:.4g} of {}, loss {:.6g}; {} given up early, {} of {} sequence runs, "
      "{} of {} layer runs resumed",
      kName, best.ratio, result.candidates.size(), best.loss, given_up, effort.sequences,
      search.sequences(), effort.resumed_segments, effort.resumed_segments + effort.segments));
}

void TokenWiseClipping::search(PipelineContext& context, RatioSearch& search,
                               const std::vector<SiteId>& searched) const {
  const RatioSearchResult result = search.search({"", searched});
  context.records.push_back(search_record(result, ""));
  report(result, search, context);
  if (params_.ratio_per != RatioPer::kAll) refine(context, search, searched);
}

void TokenWiseClipping::refine(PipelineContext& context, RatioSearch& search,
                               const std::vector<SiteId>& searched) const {
  const std::vector<RatioGroup> groups = groups_of(context, searched, params_.ratio_per);
  const float before = search.best_loss();
  int64_t moved = 0;
  for (int64_t pass = 0; pass < params_.passes; ++pass) {
    const int64_t moved_before = moved;
    for (const RatioGroup& group : groups) {
      const RatioSearchResult result = search.search(group);
      context.records.push_back(search_record(result, group.name));
      if (result.chosen >= 0) ++moved;
    }
    if (moved == moved_before) break;
  }
  context.log.info(fmt::format("{}: {} groups by {}, {} changes, loss {:.6g} -> {:.6g}", kName,
                               groups.size(), enum_name(params_.ratio_per), moved, before,
                               search.best_loss()));
}

void TokenWiseClipping::run(PipelineContext& context) {
  const std::vector<SiteId> searched = searched_sites(context);
  std::vector<Outputs> targets = target_outputs(context, params_.targets);
  const std::vector<double> ratios = ratio_grid(
      params_.step, params_.iterations, fewest_bits(context, searched), context.calibration);
  observe_weights(context);
  observe_activations(context);
  const Pass pass(context.points,
                  {.quantize = context.points.calibrated(params_.quantize_weights, true)});
  constexpr int64_t kBytesPerMegabyte = 1 << 20;
  RatioSearch ratio_search(context, pass, std::move(targets), searched, ratios,
                           {params_.early_abandon, params_.cache_megabytes * kBytesPerMegabyte});
  search(context, ratio_search, searched);
}

}  // namespace

void register_solver_token_wise_clipping(Plugins& plugins) {
  add_plugin<TokenWiseClipping, Params>(plugins.solvers, kName,
                                        "Find the ranges of all sites, and the share of tokens "
                                        "that activations cover, by the outputs.",
                                        "OS section 4.2, coarse stage");
}

}  // namespace quell
