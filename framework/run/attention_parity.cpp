#include "framework/run/attention_parity.h"

#include <ATen/ops/full_like.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <algorithm>
#include <cmath>

#include "framework/base/error.h"

namespace quell {
namespace {

constexpr double kUnit = 0x1p-24;  // of rounding to float32

bool has_one_scale(const SitePoint* point) {
  if (point == nullptr) return false;
  const at::Tensor scale = point->quantizer->parameters().scale;
  return scale.defined() && scale.numel() == 1;
}

double scale_of(const SitePoint& point) {
  return point.quantizer->parameters().scale.item<double>();
}

// Whether the values lie so close to where codes change.
at::Tensor near_change(const at::Tensor& exact, const at::Tensor& possible_error, double scale) {
  const at::Tensor steps = exact.div(scale);
  return steps.sub(steps.floor()).sub_(0.5).abs_().mul_(scale).le(possible_error);
}

// The matrix of a sequence in a buffer of compact blocks, [heads, queries, keys].
at::Tensor matrix_of(const AttentionLayout& layout, const at::Tensor& buffer, int64_t sequence) {
  const int64_t queries = layout.spans->query_count(sequence);
  const int64_t keys = layout.spans->key_count(sequence);
  return buffer.narrow(0, layout.elements[sequence], layout.shape.heads * queries * keys)
      .view({layout.shape.heads, queries, keys});
}

int64_t most_keys(const AttentionSpans& spans) {
  int64_t most = 0;
  for (int64_t i = 0; i < spans.sequences(); ++i) most = std::max(most, spans.key_count(i));
  return most;
}

// Values of which column c of each head is 1 at key `first` + c of a sequence, and 0 at others.
Rows one_hot(const AttentionLayout& layout, const Rows& value, int64_t first) {
  const AttentionSpans& spans = *layout.spans;
  const int64_t size = value.values.size(1) / layout.shape.key_heads;
  const at::Tensor codes = at::zeros({spans.keys.back(), layout.shape.key_heads, size}, at::kByte);
  for (int64_t i = 0; i < spans.sequences(); ++i) {
    for (int64_t c = 0; c < std::min(size, spans.key_count(i) - first); ++c) {
      codes[spans.keys[i] + first + c].select(1, c).fill_(1);
    }
  }
  const at::Tensor all = codes.view({spans.keys.back(), -1});
  const QuantParameters parameters{at::ones({1}), at::zeros({1}), {0, 1}};
  return {all.to(at::kFloat), value.grid,
          std::make_shared<IntegerCodes>(IntegerCodes{all, parameters})};
}

// The probabilities that an engine multiplies values with, in compact blocks: products with values
// of 0 and 1, which nothing is rounded in.
at::Tensor probs_of(const Engine& engine, const AttentionLayout& layout, const Rows& query,
                    const Rows& key, const Rows& value, AttentionGrids grids) {
  const AttentionSpans& spans = *layout.spans;
  const int64_t size = value.values.size(1) / layout.shape.key_heads;
  grids.context = nullptr;
  grids.codes_suffice = false;
  at::Tensor probs = at::zeros({layout.elements.back(), 1}, at::kFloat);
  const int64_t most = most_keys(spans);
  for (int64_t first = 0; first < most; first += size) {
    const at::Tensor some =
        engine.attention(spans, layout.shape, query, key, one_hot(layout, value, first), grids)
            .values.view({spans.queries.back(), layout.shape.heads, size});
    for (int64_t i = 0; i < spans.sequences(); ++i) {
      const int64_t count = std::min(size, spans.key_count(i) - first);
      if (count <= 0) continue;
      matrix_of(layout, probs, i)
          .narrow(2, first, count)
          .copy_(some.narrow(0, spans.queries[i], spans.query_count(i))
                     .permute({1, 0, 2})
                     .narrow(2, 0, count));
    }
  }
  return probs;
}

// How far float32 may be from float64: a rounding for each product and sum, and some for what
// follows.
double roundings(int64_t products) {
  constexpr double kMore = 8;
  return (static_cast<double>(products) + kMore) * kUnit;
}

// Values in float64, and how far those in float32 may be off.
struct Exact {
  at::Tensor values, error;
};

Exact exact_probs(const AttentionLayout& layout, const at::Tensor& query, const at::Tensor& key,
                  const SitePoint* scores_grid) {
  constexpr double kOfSoftmax = 16;  // roundings of the exponential, the sum and the quotient
  const at::Tensor q = query.to(at::kDouble), k = key.to(at::kDouble);
  at::Tensor scores = attention_scores(layout, q, k);
  const at::Tensor error =
      attention_scores(layout, q.abs(), k.abs())
          .mul_(roundings(query.size(1) / layout.shape.heads) / layout.shape.divisor);
  at::Tensor doubtful;  // scores that may have another code: then all of the row differs
  if (scores_grid != nullptr) {
    doubtful = near_change(scores, error.mul(layout.shape.divisor), scale_of(*scores_grid));
    scores =
        scores_grid->quantizer->apply(scores.to(at::kFloat), /*in_place=*/true).to(at::kDouble);
  }
  Exact exact{attention_probs(layout, scores.clone()), at::full_like(error, 0)};
  for (int64_t i = 0; i < layout.spans->sequences(); ++i) {
    // An error of all scores of a query moves a probability by twice as much, relative to itself.
    const at::Tensor of_query = std::get<0>(matrix_of(layout, error, i).max(2, /*keepdim=*/true));
    at::Tensor relative = scores_grid == nullptr ? of_query.mul(2) : at::full_like(of_query, 0);
    relative = relative.expm1().add_(kOfSoftmax * kUnit);
    at::Tensor own = matrix_of(layout, exact.error, i);
    own.copy_(matrix_of(layout, exact.values, i).mul(relative));
    if (doubtful.defined()) {
      own.masked_fill_(matrix_of(layout, doubtful, i).any(2, /*keepdim=*/true), 1);
    }
  }
  return exact;
}

}  // namespace

int64_t count_explained(const at::Tensor& different, const at::Tensor& exact,
                        const at::Tensor& possible_error, double scale) {
  return different.logical_and(near_change(exact, possible_error, scale)).sum().item<int64_t>();
}

SiteParity& ComparedAttention::parity_of(const SitePoint* point) const {
  for (size_t i = 0; i < points_.sites().size(); ++i) {
    const auto id = static_cast<SiteId>(i);
    if (points_.point(id) == point) return found_[id];
  }
  QUELL_ASSERT(false, "a grid of no site");
}

Rows ComparedAttention::attention(const AttentionSpans& spans, const AttentionShape& shape,
                                  const Rows& query, const Rows& key, const Rows& value,
                                  const AttentionGrids& grids) const {
  const Rows result = other_.attention(spans, shape, query, key, value, grids);
  if (!has_one_scale(grids.probs)) return result;
  const AttentionLayout layout(std::make_shared<const AttentionSpans>(spans), shape,
                               /*rows_needed=*/false);
  const at::Tensor q = with_values(query).values, k = with_values(key).values;
  const at::Tensor v = with_values(value).values;
  const at::Tensor probs = probs_of(other_, layout, query, key, value, grids);
  at::Tensor scores = attention_scores(layout, q, k);
  if (grids.scores != nullptr) {
    scores = reference_.quantize(*grids.scores, scores, /*in_place=*/true).values;
  }
  const at::Tensor expected =
      reference_.quantize(*grids.probs, attention_probs(layout, scores), /*in_place=*/true).values;
  const auto count = [&](const SitePoint& point, const at::Tensor& by_other,
                         const at::Tensor& by_reference, const auto& make_exact) {
    SiteParity& site = parity_of(&point);
    site.own_values += by_other.numel();
    const at::Tensor difference = by_other.sub(by_reference).abs_();
    const auto different = difference.count_nonzero().item<int64_t>();
    if (different == 0) return;
    site.own_different += different;
    const double codes = std::round(difference.max().item<double>() / scale_of(point));
    site.own_largest_in_codes = std::max(site.own_largest_in_codes, codes);
    const Exact exact = make_exact();
    site.own_explained +=
        count_explained(difference.ne(0), exact.values, exact.error, scale_of(point));
  };
  count(*grids.probs, probs, expected, [&] { return exact_probs(layout, q, k, grids.scores); });
  if (!has_one_scale(grids.context)) return result;
  const at::Tensor context = attention_context(layout, probs, v);
  count(*grids.context, with_values(result).values,
        reference_.quantize(*grids.context, context, /*in_place=*/true).values, [&] {
          const at::Tensor p = probs.to(at::kDouble), wide = v.to(at::kDouble);
          return Exact{
              attention_context(layout, p, wide),
              attention_context(layout, p.abs(), wide.abs()).mul_(roundings(most_keys(spans)))};
        });
  return result;
}

}  // namespace quell
