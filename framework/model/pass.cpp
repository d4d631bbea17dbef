#include "framework/model/pass.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/addcmul.h>
#include <ATen/ops/embedding.h>
#include <algorithm>

#include "framework/base/error.h"
#include "framework/model/weight_keeper.h"

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
  Rows quantized = engine().quantize(*action.point, rows.values, in_place);
  if (options_.tap) options_.tap(id, rows.values, quantized.values);
  return quantized;
}

at::Tensor Pass::weight(SiteId id, const at::Tensor& weight) const {
  return quantizing(id) == nullptr ? weight : points_.quantized_weight(id, weight);
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
  return engine().joins() && !looked_at() && options_.dropout == nullptr &&
         std::all_of(between.begin(), between.end(), idle);
}

bool Pass::looked_at() const { return options_.tap || options_.inputs; }

Rows Pass::linear(const Linear& linear, const Rows& rows, kernels::Activation activation,
                  SiteId site, bool codes_suffice) const {
  if (options_.inputs) options_.inputs(&linear, rows);
  const SiteId id = linear.weight_site;
  const Weight weight =
      quantizing(id) == nullptr ? Weight(linear.weight) : Weight(linear.weight, points_, id);
  Product product{rows, weight, linear.bias, activation};
  const bool site_looks =
      options_.tap || (site != kNoSite && actions_[static_cast<size_t>(site)].observe);
  if (site_looks || quantizing(site) == nullptr) {
    return this->activation(site, engine().linear(product));
  }
  product.grid = quantizing(site);
  product.codes_suffice = codes_suffice && joins({});
  return engine().linear(product);
}

Rows Pass::embedding(const EmbeddingTable& table, const at::Tensor& ids) const {
  if (options_.inputs) options_.inputs(&table, {ids});
  if (const auto* keeper = dynamic_cast<const WeightKeeper*>(&engine())) {
    at::Tensor rows = keeper->rows_of_table(table.weight, ids);
    if (rows.defined()) return {std::move(rows)};
  }
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

const SitePoint* Pass::quantizing(SiteId id) const {
  if (id == kNoSite || !actions_[static_cast<size_t>(id)].quantize) return nullptr;
  return actions_[static_cast<size_t>(id)].point;
}

bool Pass::attends_at_once(SiteId scores, SiteId probs) const {
  if (joins({scores, probs})) return true;
  const auto observes = [&](SiteId id) {
    return id != kNoSite && actions_[static_cast<size_t>(id)].observe;
  };
  return joins({}) && !observes(scores) && !observes(probs) &&
         engine().attends_on({quantizing(scores), quantizing(probs)});
}

Rows Pass::attention(const AttentionSpans& spans, const AttentionShape& shape, const Rows& query,
                     const Rows& key, const Rows& value, SiteId scores, SiteId probs,
                     SiteId context) const {
  AttentionGrids grids{quantizing(scores), quantizing(probs)};
  if (probs != kNoSite) grids.site = &points_.sites()[static_cast<size_t>(probs)];
  const bool observes = context != kNoSite && actions_[static_cast<size_t>(context)].observe;
  if (observes) {
    return activation(context, engine().attention(spans, shape, query, key, value, grids));
  }
  grids.context = quantizing(context);
  grids.codes_suffice = grids.context != nullptr;
  return engine().attention(spans, shape, query, key, value, grids);
}

Rows Pass::scores(const AttentionLayout& layout, const Rows& query, const Rows& key) const {
  return {attention_scores(layout, query.values, key.values)};
}

Rows Pass::context(const AttentionLayout& layout, const Rows& probs, const Rows& value) const {
  return {attention_context(layout, probs.values, value.values)};
}

Rows Pass::dropout(DropoutPlace place, Rows rows) const {
  if (options_.dropout == nullptr) return rows;
  return {options_.dropout->apply(place, rows.values), rows.grid};
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
