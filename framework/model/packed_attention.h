// Attention by quell's own kernel.
#pragma once

#include <ATen/core/Tensor.h>
#include <optional>
#include <vector>

#include "framework/kernels/attention.h"
#include "framework/model/engine.h"

namespace quell {

// The grid of a site with one scale; none where it is null.
std::optional<kernels::MatrixGrid> matrix_grid(const SitePoint* point);
std::vector<kernels::AttentionSequence> attention_sequences(const AttentionSpans& spans);

// The context [queries, heads * head size] of packed rows, as attention_layout(), its scores, probs
// and context one after another give it, in other last bits: see kernels/attention.h. Features of
// query, key and value lie one after another.
at::Tensor packed_attention(const AttentionSpans& spans, const AttentionShape& shape,
                            const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                            const AttentionGrids& grids = {});

}  // namespace quell
