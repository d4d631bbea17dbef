#include "framework/model/pass.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/addcmul.h>
#include <ATen/ops/embedding.h>
#include <algorithm>

#include "framework/base/error.h"

namespace quell {
Pass::Pass(const SitePoints& points, PassOptions options)
    : points_(points), options_(std::move(options)), actions_(points.sites().size()) {
  for (size_t i = 0; i < actions_.size(); ++i) {
    const auto id = static_cast<SiteId>(i);
    Action& action = actions_[i];
    action.point = points.point(id);
    action.observe = options_.observe.contains(id);
    action.quantize = options_.quantize.contains(id);
    QUELL_ASSERT(action.point != nullptr || !(action.observe || action.quantize),
                 "a site that is not to be quantized");
  }
}

Rows Pass::activation(SiteId id, Rows rows) const {
  if (id == kNoSite) return rows;
  const Action& action = actions_[static_cast<size_t>(id)];
  if (action.observe) {
    const at::NoGradGuard no_gradients;  // a range is a constant
    const int64_t heads = points_.sites()[static_cast<size_t>(id)].heads;
    action.point->observer->observe(
        options_.observed_rows ? options_.observed_rows->of(rows.values, heads) : rows.values);
    if (action.quantize) action.point->quantizer->init(action.point->observer->range());
  }
  if (!action.quantize) {
    if (options_.tap) options_.tap(id, rows.values, rows.values);
    return rows;
  }
  // A backward pass may need the rows.
  const bool in_place = !options_.tap && !at::GradMode::is_enabled();
  const Rows quantized{action.point->quantizer->apply(rows.values, in_place), action.point};
  if (options_.tap) options_.tap(id, rows.values, quantized.values);
  return quantized;
}

at::Tensor Pass::weight(SiteId id, const at::Tensor& weight) const {
  if (id == kNoSite || !actions_[static_cast<size_t>(id)].quantize) return weight;
  return points_.quantized_weight(id, weight);
}

const Engine& Pass::engine() const {
  static const Engine libtorch;
  return at::GradMode::is_enabled() || options_.engine == nullptr ? libtorch : *options_.engine;
}

bool Pass::joins(std::initializer_list<SiteId> between) const {
  const auto idle = [&](SiteId id) {
    if (id == kNoSite) return true;
    const Action& action = actions_[static_cast<size_t>(id)];
    return !action.observe && !action.quantize;
  };
  const bool looked_at = options_.tap || options_.inputs;
  return engine().joins() && !looked_at && options_.dropout == nullptr &&
         std::all_of(between.begin(), between.end(), idle);
}

Rows Pass::linear(const Linear& linear, const Rows& rows, kernels::Activation activation) const {
  if (options_.inputs) options_.inputs(&linear, rows);
  const at::Tensor used = weight(linear.weight_site, linear.weight);
  return {engine().linear(rows.values, used, linear.bias, activation)};
}

Rows Pass::embedding(const EmbeddingTable& table, const at::Tensor& ids) const {
  if (options_.inputs) options_.inputs(&table, {ids});
  return {at::embedding(weight(table.weight_site, table.weight), ids)};
}

Rows Pass::norm(const Norm& norm, const Rows& rows) const {
  if (options_.inputs) options_.inputs(&norm, rows);
  return norm_of_sum(norm, rows, {});
}

Rows Pass::norm_of_sum(const Norm& norm, const Rows& rows, const Rows& added) const {
  const at::Tensor gamma = weight(norm.weight_site, norm.weight);
  return activation(norm.output_site, {engine().norm(norm, gamma, rows.values, added.values)});
}

Rows Pass::attention(const AttentionSpans& spans, const AttentionShape& shape, const Rows& query,
                     const Rows& key, const Rows& value) const {
  return {engine().attention(spans, shape, query.values, key.values, value.values)};
}

Rows Pass::scores(const AttentionLayout& layout, const Rows& query, const Rows& key) const {
  return {attention_scores(layout, query.values, key.values)};
}

Rows Pass::context(const AttentionLayout& layout, const Rows& probs, const Rows& value) const {
  return {attention_context(layout, probs.values, value.values)};
}

Rows Pass::dropout(DropoutPlace place, Rows rows) const {
  if (options_.dropout != nullptr) rows.values = options_.dropout->apply(place, rows.values);
  return rows;
}

bool Pass::needs_rows(SiteId id) const {
  return id != kNoSite && (options_.tap || needs_equal_widths(id));
}

bool Pass::needs_equal_widths(SiteId id) const {
  if (id == kNoSite) return false;
  if (options_.tap && options_.tap_matrices == TapMatrices::kRows) return true;
  const Action& action = actions_[static_cast<size_t>(id)];
  return action.observe ||
         (action.quantize && action.point->spec.granularity != Granularity::kTensor);
}

}  // namespace quell
