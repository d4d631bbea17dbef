#include "models/blocks/attention.h"

#include <ATen/ops/_softmax.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "framework/quant/parallel.h"

namespace quell {
namespace {

// Where the [heads, length, length] matrix of each sequence lies in one flat buffer.
struct Layout {
  int64_t heads;
  int64_t columns;               // of every row; 0: as many as the sequence is long
  std::vector<int64_t> offsets;  // [sequences + 1], in elements

  Layout(const Batch& batch, int64_t head_count, bool rows_needed) : heads(head_count), columns(0) {
    if (rows_needed) {
      columns = batch.pad_to;
      for (int64_t i = 0; i < batch.sequences(); ++i) columns = std::max(columns, batch.length(i));
    }
    offsets.push_back(0);
    for (int64_t i = 0; i < batch.sequences(); ++i) {
      const int64_t length = batch.length(i);
      offsets.push_back(offsets.back() + heads * length * (columns > 0 ? columns : length));
    }
  }

  at::Tensor allocate(const at::TensorOptions& options) const {
    // Columns beyond a sequence must be zero; without them everything is written.
    return columns > 0 ? at::zeros({offsets.back() / columns, columns}, options)
                       : at::empty({offsets.back(), 1}, options);
  }

  // The [heads, length, length] part of one sequence, without additional columns.
  at::Tensor matrix(const at::Tensor& buffer, int64_t sequence, int64_t length) const {
    const int64_t row = columns > 0 ? columns : length;
    return buffer.as_strided({heads, length, length}, {length * row, row, 1}, offsets[sequence]);
  }
};

// One sequence of packed rows as [heads, length, head size].
at::Tensor heads_of(const at::Tensor& rows, const Batch& batch, int64_t sequence, int64_t heads) {
  const int64_t length = batch.length(sequence);
  const int64_t size = rows.size(1) / heads;
  return rows.as_strided({heads, length, size}, {size, rows.stride(0), 1},
                         rows.storage_offset() + batch.offsets[sequence] * rows.stride(0));
}

// Writes a product into a part of a buffer, directly where the part is contiguous.
void multiply_into(at::Tensor target, const at::Tensor& left, const at::Tensor& right) {
  if (target.is_contiguous()) {
    at::bmm_out(target, left, right);
  } else {
    target.copy_(at::bmm(left, right));
  }
}

void mask_and_normalize(at::Tensor scores, double divisor, int64_t valid_length) {
  scores.div_(divisor);
  const int64_t length = scores.size(2);
  if (valid_length < length) {
    scores.narrow(2, valid_length, length - valid_length)
        .fill_(-std::numeric_limits<float>::infinity());
  }
  if (scores.is_contiguous()) {
    at::_softmax_out(scores, scores, -1, /*half_to_float=*/false);
  } else {
    scores.copy_(at::_softmax(scores, -1, /*half_to_float=*/false));
  }
}

}  // namespace

at::Tensor self_attention(const Batch& batch, QuantContext& context, const AttentionSites& sites,
                          int64_t heads, const at::Tensor& query, const at::Tensor& key,
                          const at::Tensor& value) {
  const bool rows_needed = context.needs_rows(sites.scores) || context.needs_rows(sites.probs);
  const Layout layout(batch, heads, rows_needed);
  const double divisor = std::sqrt(static_cast<double>(query.size(1) / heads));
  // Sequences are independent, and each is too small to be worth two threads of its own.
  const auto for_each_sequence = [&](const auto& work) {
    parallel_for(0, batch.sequences(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) work(i, batch.length(i));
    });
  };

  at::Tensor scores = layout.allocate(query.options());
  for_each_sequence([&](int64_t i, int64_t length) {
    multiply_into(layout.matrix(scores, i, length), heads_of(query, batch, i, heads),
                  heads_of(key, batch, i, heads).transpose(1, 2));
  });
  at::Tensor probs = context.activation(sites.scores, std::move(scores));
  for_each_sequence([&](int64_t i, int64_t length) {
    mask_and_normalize(layout.matrix(probs, i, length), divisor, batch.valid_lengths[i]);
  });
  probs = context.activation(sites.probs, std::move(probs));

  at::Tensor rows = at::empty_like(query);
  for_each_sequence([&](int64_t i, int64_t length) {
    heads_of(rows, batch, i, heads)
        .copy_(at::bmm(layout.matrix(probs, i, length), heads_of(value, batch, i, heads)));
  });
  return context.activation(sites.context, std::move(rows));
}

}  // namespace quell
