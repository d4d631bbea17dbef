#include "solvers/token_clipping/ratio_search.h"

#include <ATen/ops/tensor.h>
#include <fmt/format.h>
#include <limits>

#include "framework/base/error.h"
#include "framework/quant/token_range_observer.h"
#include "framework/run/calibration.h"

namespace quell {
namespace {

constexpr float kNone = std::numeric_limits<float>::infinity();
constexpr const char* kTask = "token_wise_clipping";

std::vector<OutputLoss::Result> read_results(const NamedTensors& saved) {
  std::vector<OutputLoss::Result> results;
  if (saved.empty()) return results;
  const at::Tensor& losses = saved.at("loss");
  const at::Tensor& batches = saved.at("batches");
  for (int64_t i = 0; i < losses.numel(); ++i) {
    results.push_back({losses.const_data_ptr<float>()[i], batches.const_data_ptr<int64_t>()[i]});
  }
  return results;
}

}  // namespace

TokenRangeObserver* token_observer(const PipelineContext& context, SiteId id) {
  QuantPoint* point = context.quant.point(id);
  if (point == nullptr || point->spec.is_dynamic()) return nullptr;
  return dynamic_cast<TokenRangeObserver*>(point->observer.get());
}

RatioSearch::RatioSearch(PipelineContext& context, std::vector<Outputs> targets,
                         const std::vector<SiteId>& sites, std::vector<double> candidates,
                         const Options& options)
    : context_(context),
      candidates_(std::move(candidates)),
      early_abandon_(options.early_abandon),
      loss_(context, std::move(targets), sites, options.cache_bytes),
      best_loss_(kNone),
      results_(read_results(context.progress.saved())) {}

SearchRecord RatioSearch::search(const RatioGroup& group) {
  const auto batches = static_cast<int64_t>(context_.calibration.size());
  const std::map<SiteId, double> before = ratios_;
  SearchRecord record{kTask, "ratio", group.name, {}, -1};
  for (size_t i = 0; i < candidates_.size(); ++i) {
    set_ratio(group, candidates_[i]);
    const auto result = evaluate();
    record.candidates.push_back({candidates_[i], result.loss, result.batches});
    if (result.batches == batches && result.loss < best_loss_) {
      best_loss_ = result.loss;
      record.chosen = static_cast<int64_t>(i);
    }
    context_.log.progress(kTask + (group.name.empty() ? "" : " " + group.name),
                          static_cast<int64_t>(i) + 1, static_cast<int64_t>(candidates_.size()));
  }
  if (best_loss_ == kNone) {
    throw Error(
        fmt::format("{}: the quantized network gives NaN or infinity at every ratio", kTask));
  }
  if (record.chosen >= 0) {
    set_ratio(group, candidates_[static_cast<size_t>(record.chosen)]);
  } else {
    for (const SiteId id : group.sites) set_ratio({"", {id}}, before.at(id));
  }
  return record;
}

OutputLoss::Result RatioSearch::evaluate() {
  if (evaluations_ == results_.size()) {
    results_.push_back(loss_.evaluate(early_abandon_ ? best_loss_ : kNone));
    if (context_.progress.due()) save();
  }
  return results_[evaluations_++];
}

void RatioSearch::save() {
  std::vector<float> losses;
  std::vector<int64_t> batches;
  for (const OutputLoss::Result& result : results_) {
    losses.push_back(result.loss);
    batches.push_back(result.batches);
  }
  context_.progress.save({{"loss", at::tensor(losses)}, {"batches", at::tensor(batches)}});
}

void RatioSearch::set_ratio(const RatioGroup& group, double ratio) {
  for (const SiteId id : group.sites) {
    token_observer(context_, id)->set_ratio(ratio);
    use_range(context_.model.sites()[id], *context_.quant.point(id));
    ratios_[id] = ratio;
  }
}

}  // namespace quell
