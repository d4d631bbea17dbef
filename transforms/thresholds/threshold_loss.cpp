#include "transforms/thresholds/threshold_loss.h"

#include <ATen/ops/add.h>
#include <ATen/ops/div.h>
#include <ATen/ops/full.h>
#include <ATen/ops/gt.h>
#include <ATen/ops/lt.h>
#include <ATen/ops/max.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/min.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <algorithm>

#include "framework/base/error.h"
#include "transforms/thresholds/feature_loss.h"
#include "transforms/thresholds/sequence_loss.h"

namespace quell {

at::Tensor shift_of(const Range& features) { return at::add(features.max, features.min).div_(2); }

at::Tensor scale_of(const Range& features, float threshold) {
  const at::Tensor bound = at::full({}, threshold, at::kFloat), one = at::ones_like(features.max);
  const at::Tensor above =
      at::where(at::gt(features.max, bound), at::div(features.max, bound), one);
  const at::Tensor below =
      at::where(at::lt(features.min, bound.neg()), at::div(features.min, bound.neg()), one);
  return at::maximum(above, below);
}

const QuantSpec& SearchedGroup::spec() const {
  const SitePoint* point = points.point(group.site);
  QUELL_ASSERT(point != nullptr, "rows that are to be quantized");
  return point->spec;
}

QuantizedRows SearchedGroup::quantized(const at::Tensor& rows, const at::Tensor& scale,
                                       float threshold, bool as_codes) const {
  Range range;
  if (spec().granularity == Granularity::kTensor) {
    const at::Tensor bound = at::full({1}, threshold, at::kFloat);
    range = {bound.neg(), bound};
  } else if (!spec().is_dynamic()) {
    range =
        min_max(at::stack({at::div(features.min, scale), at::div(features.max, scale)}), spec());
  }
  return {rows, scale, spec(), range, as_codes};
}

float SearchedGroup::typical_threshold() const {
  return std::max(-features.min.min().item<float>(), features.max.max().item<float>()) / 2;
}

std::unique_ptr<ThresholdLoss> threshold_loss(const SearchedGroup& group,
                                              const std::vector<GroupInput>& inputs) {
  const auto is_gate = [&](const Linear* reader) {
    return group.model.sites()[static_cast<size_t>(reader->weight_site)].role == "gate";
  };
  const std::vector<Linear*>& readers = group.group.readers;
  const bool gated = std::any_of(readers.begin(), readers.end(), is_gate);
  if (group.group.combined && !gated) return std::make_unique<SequenceLoss>(group, inputs);
  return std::make_unique<FeatureLoss>(group, inputs, gated);
}

}  // namespace quell
