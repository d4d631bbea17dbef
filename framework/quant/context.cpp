#include "framework/quant/context.h"

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <algorithm>

#include "framework/base/error.h"

namespace quell {
namespace {

// Whether the quantized weight is part of what gradients are computed for.
bool is_learned(const at::Tensor& weight, Quantizer& quantizer) {
  if (!at::GradMode::is_enabled()) return false;
  if (weight.requires_grad()) return true;
  const std::vector<LearnableTensor> learnable = quantizer.learnable();
  return std::any_of(learnable.begin(), learnable.end(),
                     [](const LearnableTensor& one) { return one.tensor.requires_grad(); });
}

}  // namespace

QuantContext::QuantContext(std::span<const Site> sites)
    : sites_(sites.begin(), sites.end()), points_(sites.size()), quantized_weights_(sites.size()) {}

void QuantContext::set_point(SiteId id, std::unique_ptr<QuantPoint> point) {
  points_[id] = std::move(point);
  weight_changed(id);
}

void QuantContext::set_quantize(SiteKind kind, bool on) {
  for (size_t id = 0; id < sites_.size(); ++id) {
    QuantPoint* point = points_[id].get();
    if (point == nullptr || sites_[id].kind != kind) continue;
    if (on && !point->calibrated) {
      throw Error(
          fmt::format("{} is to be quantized but has no range yet; put `calibrate` into the "
                      "pipeline",
                      sites_[id].key()));
    }
    point->quantize = on;
  }
}

void QuantContext::set_observe(SiteKind kind, bool on) {
  for (size_t id = 0; id < sites_.size(); ++id) {
    QuantPoint* point = points_[id].get();
    if (point == nullptr || sites_[id].kind != kind) continue;
    point->observe = on && !point->spec.is_dynamic();
  }
}

at::Tensor QuantContext::activation(SiteId id, at::Tensor rows) {
  QuantPoint* point = points_[id].get();
  if (point == nullptr || !(point->observe || point->quantize)) {
    if (tap_) tap_(id, rows, rows);
    return rows;
  }
  if (point->observe) {
    const int64_t heads = sites_[static_cast<size_t>(id)].heads;
    point->observer->observe(observed_rows_ ? observed_rows_->of(rows, heads) : rows);
    if (point->quantize) point->quantizer->init(point->observer->range());
  }
  if (!point->quantize) {
    if (tap_) tap_(id, rows, rows);
    return rows;
  }
  // A backward pass may need the rows.
  const bool in_place = !tap_ && !at::GradMode::is_enabled();
  at::Tensor quantized = point->quantizer->apply(rows, in_place);
  if (tap_) tap_(id, rows, quantized);
  return quantized;
}

at::Tensor QuantContext::weight(SiteId id, const at::Tensor& weight) {
  QuantPoint* point = points_[id].get();
  if (point == nullptr || !point->quantize) return weight;
  if (is_learned(weight, *point->quantizer)) {
    return point->quantizer->apply(weight, /*in_place=*/false);
  }
  at::Tensor& cached = quantized_weights_[id];
  if (!cached.defined()) cached = point->quantizer->apply(weight, /*in_place=*/false);
  return cached;
}

bool QuantContext::active(SiteId id) const {
  const QuantPoint* point = points_[id].get();
  return tap_ || (point != nullptr && (point->observe || point->quantize));
}

bool QuantContext::needs_rows(SiteId id) const { return tap_ || needs_equal_widths(id); }

bool QuantContext::needs_equal_widths(SiteId id) const {
  if (tap_ && tap_matrices_ == TapMatrices::kRows) return true;
  const QuantPoint* point = points_[id].get();
  if (point == nullptr) return false;
  return point->observe || (point->quantize && point->spec.granularity != Granularity::kTensor);
}

}  // namespace quell
