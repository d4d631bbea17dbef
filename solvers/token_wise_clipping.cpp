// Token-wise clipping, coarse stage (Outlier Suppression, section 4.2): one share of tokens for all
// activations, the one whose quantized network is nearest to the float network.

#include <fmt/format.h>
#include <algorithm>
#include <cmath>
#include <limits>

#include "framework/base/error.h"
#include "framework/model/pipeline.h"
#include "framework/plugin/registry.h"
#include "framework/quant/token_range_observer.h"
#include "framework/run/calibration.h"
#include "framework/run/output_loss.h"

namespace quell {
namespace {

constexpr const char* kName = "token_wise_clipping";

struct Params {
  double step = 0;
  int64_t iterations = 0;
  bool quantize_weights = false;
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
      "the "
      "step. In between the span is interpolated, beyond it stays; the smallest bits count",
      at_least(0));
    v("quantize_weights", &Params::quantize_weights,
      "search with quantized weights; published: float ones");
    v("early_abandon", &Params::early_abandon,
      "give a ratio up once it cannot win any more; the choice is the same, but its stored loss is "
      "that of the first batches");
    v("cache_megabytes", &Params::cache_megabytes,
      "memory for states between layers, from which ratios with equal parameters go on",
      at_least(0));
  }
};

class TokenWiseClipping final : public Solver {
 public:
  explicit TokenWiseClipping(const Params& params) : params_(params) {}

  void solve(PipelineContext& context) override;

 private:
  std::vector<double> ratios(const PipelineContext& context,
                             const std::vector<SiteId>& searched) const;
  SearchRecord search(PipelineContext& context, const std::vector<SiteId>& searched) const;

  Params params_;
};

TokenRangeObserver* token_observer(const PipelineContext& context, SiteId id) {
  QuantPoint* point = context.quant.point(id);
  if (point == nullptr || point->spec.is_dynamic()) return nullptr;
  return dynamic_cast<TokenRangeObserver*>(point->observer.get());
}

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

void set_ratio(PipelineContext& context, const std::vector<SiteId>& searched, double ratio) {
  for (const SiteId id : searched) {
    token_observer(context, id)->set_ratio(ratio);
    use_range(context.model.sites()[id], *context.quant.point(id));
  }
}

// As published: 0.01 for 32 sequences of 128 tokens, and in inverse proportion for larger batches,
// to two significant digits.
double published_step(std::span<const Batch> batches) {
  constexpr double kLargestStep = 0.01;
  int64_t sequences = 1, length = 1;
  for (const Batch& batch : batches) {
    sequences = std::max(sequences, batch.sequences());
    length = std::max(length, batch.pad_to);
    for (int64_t i = 0; i < batch.sequences(); ++i) length = std::max(length, batch.length(i));
  }
  const double step =
      128 * 32 * kLargestStep / static_cast<double>(sequences) / static_cast<double>(length);
  const double digits = std::pow(10.0, 1 - std::floor(std::log10(step)));
  return std::min(std::rint(step * digits) / digits, kLargestStep);
}

double span_of_ratios(int64_t bits) {
  if (bits >= 8) return 0.1;
  if (bits == 7) return 0.2;
  if (bits == 6) return 0.3;
  return bits == 5 ? 0.6 : 0.9;
}

void report(const SearchRecord& record, const OutputLoss::Effort& effort,
            const PipelineContext& context) {
  const auto batches = static_cast<int64_t>(context.calibration.size());
  const SearchCandidate& best = record.candidates[record.chosen];
  const auto given_up =
      std::count_if(record.candidates.begin(), record.candidates.end(),
                    [&](const SearchCandidate& tried) { return tried.batches < batches; });
  context.log.info(
      fmt::format("{}: ratio {:.4g} of {}, loss {:.6g}; {} given up early, {} as another one, {} "
                  "of {} layer runs "
                  "resumed",
                  kName, best.value, record.candidates.size(), best.loss, given_up, effort.repeated,
                  effort.resumed_segments, effort.resumed_segments + effort.segments));
}

std::vector<double> TokenWiseClipping::ratios(const PipelineContext& context,
                                              const std::vector<SiteId>& searched) const {
  const double step = params_.step > 0 ? params_.step : published_step(context.calibration);
  int64_t bits = std::numeric_limits<int64_t>::max();
  for (const SiteId id : searched) bits = std::min(bits, context.quant.point(id)->spec.bits);
  const int64_t count =
      params_.iterations > 0
          ? params_.iterations
          : std::max<int64_t>(1, static_cast<int64_t>(span_of_ratios(bits) / step));
  std::vector<double> result;
  for (int64_t i = 0; i < count; ++i) result.push_back(1.0 - step * static_cast<double>(i));
  if (result.back() > 0) return result;
  throw ConfigError(
      fmt::format("{}: {} ratios at a step of {} end at {}, but a ratio is a share of "
                  "tokens above 0; lower `iterations` or `step`",
                  kName, count, step, result.back()));
}

SearchRecord TokenWiseClipping::search(PipelineContext& context,
                                       const std::vector<SiteId>& searched) const {
  constexpr int64_t kBytesPerMegabyte = 1 << 20;
  constexpr float kNone = std::numeric_limits<float>::infinity();
  const std::vector<double> candidates = ratios(context, searched);
  const auto batches = static_cast<int64_t>(context.calibration.size());
  context.quant.set_quantize(SiteKind::kActivation, true);
  context.quant.set_quantize(SiteKind::kWeight, params_.quantize_weights);
  prepare_weights(context.model, context.quant);
  OutputLoss loss(context, searched, params_.cache_megabytes * kBytesPerMegabyte);
  SearchRecord record{kName, "ratio", {}, 0};
  float best = kNone;
  for (size_t i = 0; i < candidates.size(); ++i) {
    set_ratio(context, searched, candidates[i]);
    const auto result = loss.evaluate(params_.early_abandon ? best : kNone);
    record.candidates.push_back({candidates[i], result.loss, result.batches});
    if (result.batches == batches && result.loss < best) {
      best = result.loss;
      record.chosen = i;
    }
    context.log.progress(kName, static_cast<int64_t>(i) + 1,
                         static_cast<int64_t>(candidates.size()));
  }
  context.quant.set_quantize(SiteKind::kActivation, false);
  context.quant.set_quantize(SiteKind::kWeight, false);
  if (best == kNone) {
    throw Error(
        fmt::format("{}: the quantized network gives NaN or infinity at every ratio", kName));
  }
  report(record, loss.effort(), context);
  return record;
}

void TokenWiseClipping::solve(PipelineContext& context) {
  const std::vector<SiteId> searched = searched_sites(context);
  original_outputs(context);  // while nothing is switched on
  observe_weights(context);
  observe_activations(context);
  context.searches.push_back(search(context, searched));
  const SearchRecord& record = context.searches.back();
  set_ratio(context, searched, record.candidates[record.chosen].value);
}

}  // namespace

void register_solver_token_wise_clipping(Plugins& plugins) {
  add_plugin<TokenWiseClipping, Params>(plugins.solvers, kName,
                                        "Find the ranges of all sites, and the share of tokens "
                                        "that activations cover, by the outputs.",
                                        "OS section 4.2, coarse stage");
}

}  // namespace quell
