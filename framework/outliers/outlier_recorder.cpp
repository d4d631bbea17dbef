#include "framework/outliers/outlier_recorder.h"

#include <fmt/format.h>
#include <algorithm>

#include "framework/base/error.h"
#include "framework/quant/device.h"

namespace quell {
namespace {

at::Tensor copy_of(const at::Tensor& parameter) {
  return on_host(parameter.detach(), "statistics of outliers").clone();
}

// Which activations the patterns name.
std::vector<bool> select(const std::vector<Site>& sites, const std::vector<std::string>& patterns,
                         const char* key) {
  std::vector<bool> selected(sites.size());
  for (const std::string& pattern : patterns) {
    bool any = false;
    for (size_t i = 0; i < sites.size(); ++i) {
      if (sites[i].kind != SiteKind::kActivation || !matches(sites[i], pattern)) continue;
      selected[i] = any = true;
    }
    if (any) continue;
    throw ConfigError(
        fmt::format("record.outliers.{}: \"{}\" matches no activation of this model; `quell check` "
                    "lists them",
                    key, pattern));
  }
  return selected;
}

}  // namespace

OutlierRecorder::OutlierRecorder(const OutlierOptions& options, const std::vector<Site>& sites)
    : found_{options, {}, {}},
      sites_(sites),
      recorded_(select(sites, options.sites, "sites")),
      raw_(select(sites, options.raw, "raw")) {}

void OutlierRecorder::set_tokens(std::span<const Batch> batches, const Tokenizer* tokenizer) {
  if (batches.empty()) throw ConfigError("no calibration batches; raise calibration.samples");
  found_.tokens = calibration_tokens(batches, tokenizer);
}

OutlierRecorder::AllStatistics OutlierRecorder::new_statistics() const {
  AllStatistics all(sites_.size());
  for (size_t i = 0; i < sites_.size(); ++i) {
    if (!recorded_[i] && !raw_[i]) continue;
    all[i] = std::make_unique<SiteStatistics>(sites_[i], found_.options, found_.tokens, raw_[i]);
  }
  return all;
}

std::string OutlierRecorder::unused_name(const std::string& name) const {
  const auto is_used = [&](const std::string& wanted) {
    return std::any_of(found_.stages.begin(), found_.stages.end(),
                       [&](const OutlierStage& stage) { return stage.name == wanted; });
  };
  std::string result = name;
  for (int use = 2; is_used(result); ++use) result = fmt::format("{}_{}", name, use);
  return result;
}

void OutlierRecorder::record(const std::string& name, Model& model, const SitePoints& points,
                             const SiteSet& quantized, std::span<const Batch> batches, Log& log) {
  OutlierStage stage{unused_name(name), !quantized.empty(), {}, {}};
  AllStatistics all = new_statistics();
  std::vector<bool> reached(sites_.size());
  int64_t done = 0;
  const auto passes = [&](void (SiteStatistics::*look)(const Batch&, const at::Tensor&)) {
    for (const Batch& batch : batches) {
      const Tap tap = [&](SiteId id, const at::Tensor&, const at::Tensor& after) {
        if (all[id] == nullptr || after.numel() == 0) return;
        (all[id].get()->*look)(batch, on_host(after, "statistics of outliers").contiguous());
        reached[id] = true;
      };
      model.forward(
          batch,
          Pass(points, {.quantize = quantized, .tap = tap, .tap_matrices = TapMatrices::kCompact}));
      log.progress("outliers, " + stage.name, ++done, 2 * static_cast<int64_t>(batches.size()));
    }
  };
  passes(&SiteStatistics::measure);
  for (size_t i = 0; i < all.size(); ++i) {
    if (reached[i]) all[i]->end_measuring();
  }
  passes(&SiteStatistics::count);
  for (size_t i = 0; i < all.size(); ++i) {
    if (reached[i]) stage.sites.emplace_back(static_cast<SiteId>(i), all[i]->end_counting());
  }
  for (const ScaleGroup& group : model.graph().groups) {
    if (group.norm == nullptr) continue;
    const Norm& norm = *group.norm;
    stage.norms.push_back(
        {sites_[static_cast<size_t>(group.site)].name, group.site, copy_of(norm.weight),
         norm.bias.defined() ? copy_of(norm.bias) : at::Tensor(), group.outlier_suppression_skips});
  }
  found_.stages.push_back(std::move(stage));
}

}  // namespace quell
