#include "framework/quant/site_points.h"

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <algorithm>

#include "framework/base/error.h"
#include "framework/quant/scale_map.h"

namespace quell {
namespace {

// A zero keeps its sign.
bool same_bits(const at::Tensor& one, const at::Tensor& other) {
  return one.sizes() == other.sizes() && one.view(at::kInt).equal(other.view(at::kInt));
}

// Whether the quantized weight is part of what gradients are computed for.
bool is_learned(const at::Tensor& weight, Quantizer& quantizer) {
  if (!at::GradMode::is_enabled()) return false;
  if (weight.requires_grad()) return true;
  const std::vector<LearnableTensor> learnable = quantizer.learnable();
  return std::any_of(learnable.begin(), learnable.end(),
                     [](const LearnableTensor& one) { return one.tensor.requires_grad(); });
}

}  // namespace

SitePoints::SitePoints(std::span<const Site> sites)
    : sites_(sites.begin(), sites.end()), points_(sites.size()), kept_weights_(sites.size()) {}

void SitePoints::set_point(SiteId id, std::unique_ptr<SitePoint> point) {
  points_[static_cast<size_t>(id)] = std::move(point);
  weight_changed(id);
}

void SitePoints::set_feature_groups(SiteId id, std::shared_ptr<const FeatureGroups> groups) {
  SitePoint& point = *this->point(id);
  QUELL_ASSERT(point.spec.granularity == Granularity::kFeatureGroups, "a site without groups");
  if (groups != nullptr && groups->groups() != point.spec.groups) {
    throw ConfigError(
        fmt::format("{} is to have {} groups of features, but is given {}; write `groups: {}`",
                    sites_[static_cast<size_t>(id)].key(), point.spec.groups, groups->groups(),
                    groups->groups()));
  }
  point.spec.feature_groups = std::move(groups);
  point.observer = point.make_observer(point.spec);
  point.quantizer = point.make_quantizer(point.spec);
  point.range = {};
  point.calibrated = false;
  weight_changed(id);
}

SiteSet SitePoints::calibrated(SiteKind kind) const {
  return calibrated(kind == SiteKind::kWeight, kind == SiteKind::kActivation);
}

SiteSet SitePoints::calibrated(bool weights, bool activations, SiteRange scope) const {
  SiteSet result;
  for (size_t i = 0; i < sites_.size(); ++i) {
    const bool wanted = sites_[i].kind == SiteKind::kWeight ? weights : activations;
    const bool inside = scope.contains(static_cast<SiteId>(i));
    if (points_[i] == nullptr || !wanted || !inside) continue;
    if (!points_[i]->calibrated) {
      throw Error(
          fmt::format("{} is to be quantized but has no range yet; put `calibrate` into the "
                      "pipeline, or among the steps of `by_block`",
                      sites_[i].key()));
    }
    result.insert(static_cast<SiteId>(i));
  }
  return result;
}

at::Tensor SitePoints::quantized_weight(SiteId id, const at::Tensor& weight) const {
  Quantizer& quantizer = *point(id)->quantizer;
  if (is_learned(weight, quantizer)) return quantizer.apply(weight, /*in_place=*/false);
  KeptWeight& kept = kept_weights_[static_cast<size_t>(id)];
  const std::lock_guard lock(kept.mutex);
  if (!kept.tensor.defined()) {
    kept.tensor = quantizer.apply(weight, /*in_place=*/false);
    // That of an exported network is on its grid already: one of both is enough.
    if (same_bits(kept.tensor, weight)) kept.tensor = weight;
  }
  return kept.tensor;
}

void SitePoints::weight_changed(SiteId id) {
  KeptWeight& kept = kept_weights_[static_cast<size_t>(id)];
  const std::lock_guard lock(kept.mutex);
  kept.tensor = at::Tensor();
  kept.stamp = std::make_shared<char>();
}

std::weak_ptr<const void> SitePoints::weight_stamp(SiteId id) const {
  KeptWeight& kept = kept_weights_[static_cast<size_t>(id)];
  const std::lock_guard lock(kept.mutex);
  return kept.stamp;
}

}  // namespace quell
