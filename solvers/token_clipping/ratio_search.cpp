#include "solvers/token_clipping/ratio_search.h"

#include <ATen/ops/tensor.h>
#include <fmt/format.h>
#include <cmath>
#include <limits>

#include "framework/base/error.h"
#include "framework/quant/token_range_observer.h"
#include "framework/solve/calibration.h"

namespace quell {
namespace {

constexpr float kNone = std::numeric_limits<float>::infinity();
constexpr const char* kTask = "token_wise_clipping";
constexpr const char* kLosses = "shares_and_losses";  // in what is saved

std::vector<float> saved_losses(const NamedTensors& saved) {
  const auto found = saved.find(kLosses);
  if (found == saved.end()) return {};
  const at::Tensor& losses = found->second;
  return {losses.const_data_ptr<float>(), losses.const_data_ptr<float>() + losses.numel()};
}

// NaN counts as the largest loss.
float comparable(const OutputLoss::Result& result) {
  return std::isnan(result.loss) ? kNone : result.loss;
}

struct Leader {
  size_t first = 0;         // of the least sum; of equal ones the first
  float runner_up = kNone;  // the least sum of the others
};

Leader leader(const std::vector<OutputLoss::Result>& results) {
  Leader leader;
  for (size_t i = 1; i < results.size(); ++i) {
    const float loss = comparable(results[i]), least = comparable(results[leader.first]);
    leader.runner_up = std::min(leader.runner_up, std::max(loss, least));
    if (loss < least) leader.first = i;
  }
  return leader;
}

}  // namespace

TokenRangeObserver* token_observer(const PipelineContext& context, SiteId id) {
  SitePoint* point = context.points.point(id);
  if (point == nullptr || point->spec.is_dynamic()) return nullptr;
  return dynamic_cast<TokenRangeObserver*>(point->observer.get());
}

Record search_record(const RatioSearchResult& result, const std::string& group) {
  std::vector<double> ratios, losses;
  std::vector<int64_t> batches;
  for (const RatioCandidate& candidate : result.candidates) {
    ratios.push_back(candidate.ratio);
    losses.push_back(candidate.loss);
    batches.push_back(candidate.batches);
  }
  Record record{"searches",
                kTask,
                {{"ratio", at::tensor(ratios, at::kDouble), "candidate"},
                 {"loss", at::tensor(losses, at::kDouble), "candidate"},
                 {"batches", at::tensor(batches, at::kLong), "candidate"}},
                {{"chosen", result.chosen}}};
  if (!group.empty()) record.attributes.emplace_back("sites", group);
  return record;
}

RatioSearch::RatioSearch(PipelineContext& context, const Pass& pass, std::vector<Outputs> targets,
                         const std::vector<SiteId>& sites, std::vector<double> candidates,
                         const Options& options)
    : context_(context),
      candidates_(std::move(candidates)),
      early_abandon_(options.early_abandon),
      loss_(context, pass, std::move(targets), sites, {.cache_bytes = options.cache_bytes},
            saved_losses(context.progress.saved())),
      best_loss_(kNone) {}

int64_t RatioSearch::sequences() const {
  int64_t sequences = 0;
  for (const Batch& batch : context_.calibration) sequences += batch.sequences();
  return std::ssize(candidates_) * sequences;
}

RatioSearchResult RatioSearch::search(const RatioGroup& group) {
  const std::map<SiteId, double> before = ratios_;
  std::vector<OutputLoss::Result> results(candidates_.size());
  for (size_t i = 0; i < candidates_.size() && !early_abandon_; ++i) {
    results[i] = evaluate(group, candidates_[i], kNone);
  }
  const std::optional<size_t> winner = race(group, results);
  if (!winner && best_loss_ == kNone) {
    throw Error(
        fmt::format("{}: the quantized network gives NaN or infinity at every ratio", kTask));
  }
  RatioSearchResult result;
  for (size_t i = 0; i < candidates_.size(); ++i) {
    result.candidates.push_back({candidates_[i], results[i].loss, results[i].batches});
  }
  if (winner) {
    best_loss_ = results[*winner].loss;
    result.chosen = static_cast<int64_t>(*winner);
    set_ratio(group, candidates_[*winner]);
  } else {
    for (const SiteId id : group.sites) set_ratio({"", {id}}, before.at(id));
  }
  return result;
}

std::optional<size_t> RatioSearch::race(const RatioGroup& group,
                                        std::vector<OutputLoss::Result>& results) {
  const auto batches = static_cast<int64_t>(context_.calibration.size());
  while (true) {
    const auto [first, runner_up] = leader(results);
    if (!(results[first].loss < best_loss_)) return std::nullopt;
    if (results[first].batches == batches) return first;
    const float limit = std::min(std::nextafter(runner_up, kNone), best_loss_);
    results[first] = evaluate(group, candidates_[first], limit);
  }
}

OutputLoss::Result RatioSearch::evaluate(const RatioGroup& group, double ratio, float limit) {
  set_ratio(group, ratio);
  const OutputLoss::Result result = loss_.evaluate(limit);
  if (context_.progress.due()) context_.progress.save({{kLosses, at::tensor(loss_.losses())}});
  context_.log.progress(kTask + (group.name.empty() ? "" : " " + group.name),
                        loss_.effort().sequences, sequences());
  return result;
}

void RatioSearch::set_ratio(const RatioGroup& group, double ratio) {
  for (const SiteId id : group.sites) {
    token_observer(context_, id)->set_ratio(ratio);
    use_range(context_.model.sites()[id], *context_.points.point(id));
    ratios_[id] = ratio;
  }
}

}  // namespace quell
