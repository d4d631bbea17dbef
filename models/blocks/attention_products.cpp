#include "models/blocks/attention_products.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_softmax.h>
#include <ATen/ops/_softmax_backward_data.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>
#include <algorithm>
#include <limits>

#include "framework/quant/parallel.h"

namespace quell {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

at::Tensor allocate(const AttentionLayout& layout, const at::TensorOptions& options) {
  const int64_t size = layout.elements.back();
  // Columns beyond a sequence must be zero; without them everything is written.
  return layout.columns > 0 ? at::zeros({size / layout.columns, layout.columns}, options)
                            : at::empty({size, 1}, options);
}

// The matrix of one sequence as [heads, queries, keys], without additional columns.
at::Tensor matrix_of(const AttentionLayout& layout, const at::Tensor& buffer, int64_t sequence) {
  const int64_t queries = layout.spans.query_count(sequence);
  const int64_t keys = layout.spans.key_count(sequence);
  const int64_t row = layout.columns > 0 ? layout.columns : keys;
  return buffer.as_strided({layout.heads, queries, keys}, {queries * row, row, 1},
                           buffer.storage_offset() + layout.elements[sequence]);
}

// Packed rows of one sequence as [heads, rows, head size].
at::Tensor heads_of(const at::Tensor& rows, int64_t heads, int64_t first, int64_t count) {
  const int64_t size = rows.size(1) / heads;
  return rows.as_strided({heads, count, size}, {size, rows.stride(0), 1},
                         rows.storage_offset() + first * rows.stride(0));
}

at::Tensor queries_of(const AttentionLayout& layout, const at::Tensor& rows, int64_t sequence) {
  return heads_of(rows, layout.heads, layout.spans.queries[sequence],
                  layout.spans.query_count(sequence));
}

at::Tensor keys_of(const AttentionLayout& layout, const at::Tensor& rows, int64_t sequence) {
  return heads_of(rows, layout.heads, layout.spans.keys[sequence],
                  layout.spans.key_count(sequence));
}

// Sequences are independent, and each is too small to be worth two threads of its own.
template <class Work>
void for_each_sequence(const AttentionLayout& layout, const Work& work) {
  parallel_for(0, layout.spans.sequences(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) work(i);
  });
}

// Writes a product into a part of a buffer, directly where the part is contiguous.
void multiply_into(at::Tensor target, const at::Tensor& left, const at::Tensor& right) {
  if (target.is_contiguous()) {
    at::bmm_out(target, left, right);
  } else {
    target.copy_(at::bmm(left, right));
  }
}

at::Tensor multiply_query_key(const AttentionLayout& layout, const at::Tensor& query,
                              const at::Tensor& key) {
  at::Tensor scores = allocate(layout, query.options());
  for_each_sequence(layout, [&](int64_t i) {
    multiply_into(matrix_of(layout, scores, i), queries_of(layout, query, i),
                  keys_of(layout, key, i).transpose(1, 2));
  });
  return scores;
}

void mask_and_normalize(at::Tensor scores, double divisor, int64_t valid_keys, bool causal) {
  constexpr float kMasked = -std::numeric_limits<float>::infinity();
  if (divisor != 1) scores.div_(divisor);
  const int64_t queries = scores.size(1), keys = scores.size(2);
  if (valid_keys < keys) scores.narrow(2, valid_keys, keys - valid_keys).fill_(kMasked);
  if (causal && queries > 1) {
    const at::Tensor later = at::ones({queries, keys}, at::kBool).triu_(1);
    scores.masked_fill_(later, kMasked);
  }
  if (scores.is_contiguous()) {
    at::_softmax_out(scores, scores, -1, /*half_to_float=*/false);
  } else {
    scores.copy_(at::_softmax(scores, -1, /*half_to_float=*/false));
  }
}

void mask_and_normalize_all(const AttentionLayout& layout, const at::Tensor& scores,
                            double divisor) {
  for_each_sequence(layout, [&](int64_t i) {
    mask_and_normalize(matrix_of(layout, scores, i), divisor, layout.spans.valid_keys[i],
                       layout.spans.causal);
  });
}

at::Tensor multiply_probs_value(const AttentionLayout& layout, const at::Tensor& probs,
                                const at::Tensor& value) {
  at::Tensor rows = at::empty({layout.spans.queries.back(), value.size(1)}, value.options());
  for_each_sequence(layout, [&](int64_t i) {
    queries_of(layout, rows, i)
        .copy_(at::bmm(matrix_of(layout, probs, i), keys_of(layout, value, i)));
  });
  return rows;
}

void save(const AttentionLayout& layout, AutogradContext* context) {
  auto& saved = context->saved_data;
  saved["heads"] = layout.heads;
  saved["columns"] = layout.columns;
  saved["queries"] = layout.spans.queries;
  saved["keys"] = layout.spans.keys;
  saved["valid_keys"] = layout.spans.valid_keys;
  saved["causal"] = layout.spans.causal;
}

AttentionLayout saved_layout(AutogradContext* context) {
  auto& saved = context->saved_data;
  const int64_t columns = saved["columns"].toInt();
  AttentionSpans spans{saved["queries"].toIntVector(), saved["keys"].toIntVector(),
                       saved["valid_keys"].toIntVector(), saved["causal"].toBool(), columns};
  return {std::move(spans), saved["heads"].toInt(), columns > 0};
}

struct Scores : Function<Scores> {
  static at::Tensor forward(AutogradContext* context, const AttentionLayout& layout,
                            const at::Tensor& query, const at::Tensor& key) {
    save(layout, context);
    context->save_for_backward({query, key});
    return multiply_query_key(layout, query.detach(), key.detach());
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const AttentionLayout layout = saved_layout(context);
    const auto saved = context->get_saved_variables();
    const at::Tensor gradient = gradients[0].contiguous();
    const at::Tensor query = saved[0].detach(), key = saved[1].detach();
    at::Tensor for_query = at::empty_like(query), for_key = at::empty_like(key);
    for_each_sequence(layout, [&](int64_t i) {
      const at::Tensor part = matrix_of(layout, gradient, i);
      queries_of(layout, for_query, i).copy_(at::bmm(part, keys_of(layout, key, i)));
      keys_of(layout, for_key, i)
          .copy_(at::bmm(part.transpose(1, 2), queries_of(layout, query, i)));
    });
    return {at::Tensor(), for_query, for_key};
  }
};

struct Probs : Function<Probs> {
  static at::Tensor forward(AutogradContext* context, const AttentionLayout& layout,
                            const at::Tensor& scores, double divisor) {
    at::Tensor probs = scores.detach().clone();
    mask_and_normalize_all(layout, probs, divisor);
    save(layout, context);
    context->saved_data["divisor"] = divisor;
    context->save_for_backward({probs});
    return probs;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const AttentionLayout layout = saved_layout(context);
    const double divisor = context->saved_data["divisor"].toDouble();
    const at::Tensor gradient = gradients[0].contiguous();
    const at::Tensor probs = context->get_saved_variables()[0].detach();
    at::Tensor for_scores = allocate(layout, probs.options());
    for_each_sequence(layout, [&](int64_t i) {
      matrix_of(layout, for_scores, i)
          .copy_(at::_softmax_backward_data(matrix_of(layout, gradient, i),
                                            matrix_of(layout, probs, i), -1, at::kFloat)
                     .div_(divisor));
    });
    return {at::Tensor(), for_scores, at::Tensor()};
  }
};

struct Context : Function<Context> {
  static at::Tensor forward(AutogradContext* context, const AttentionLayout& layout,
                            const at::Tensor& probs, const at::Tensor& value) {
    save(layout, context);
    context->save_for_backward({probs, value});
    return multiply_probs_value(layout, probs.detach(), value.detach());
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const AttentionLayout layout = saved_layout(context);
    const auto saved = context->get_saved_variables();
    const at::Tensor gradient = gradients[0].contiguous();
    const at::Tensor probs = saved[0].detach(), value = saved[1].detach();
    at::Tensor for_probs = allocate(layout, probs.options()), for_value = at::empty_like(value);
    for_each_sequence(layout, [&](int64_t i) {
      const at::Tensor part = queries_of(layout, gradient, i);
      multiply_into(matrix_of(layout, for_probs, i), part,
                    keys_of(layout, value, i).transpose(1, 2));
      keys_of(layout, for_value, i)
          .copy_(at::bmm(matrix_of(layout, probs, i).transpose(1, 2), part));
    });
    return {at::Tensor(), for_probs, for_value};
  }
};

bool records_gradients(std::initializer_list<at::Tensor> inputs) {
  return at::GradMode::is_enabled() &&
         std::any_of(inputs.begin(), inputs.end(),
                     [](const at::Tensor& input) { return input.requires_grad(); });
}

}  // namespace

AttentionSpans self_attention_spans(const Batch& batch) {
  return {batch.offsets, batch.offsets, batch.valid_lengths, /*causal=*/false, batch.pad_to};
}

AttentionSpans causal_attention_spans(const Batch& batch) {
  return {batch.target_offsets(), batch.target_offsets(), batch.target_valid_lengths(),
          /*causal=*/true, batch.target_pad_to()};
}

AttentionSpans cross_attention_spans(const Batch& batch) {
  return {batch.target_offsets(), batch.offsets, batch.valid_lengths, /*causal=*/false,
          batch.pad_to};
}

AttentionLayout::AttentionLayout(AttentionSpans attention_spans, int64_t head_count,
                                 bool rows_needed)
    : spans(std::move(attention_spans)), heads(head_count), elements{0} {
  if (rows_needed) columns = spans.pad_to;
  for (int64_t i = 0; rows_needed && i < spans.sequences(); ++i) {
    columns = std::max(columns, spans.key_count(i));
  }
  for (int64_t i = 0; i < spans.sequences(); ++i) {
    elements.push_back(elements.back() +
                       heads * spans.query_count(i) * (columns > 0 ? columns : spans.key_count(i)));
  }
}

at::Tensor attention_scores(const AttentionLayout& layout, const at::Tensor& query,
                            const at::Tensor& key) {
  if (records_gradients({query, key})) return Scores::apply(layout, query, key);
  return multiply_query_key(layout, query, key);
}

at::Tensor attention_probs(const AttentionLayout& layout, at::Tensor scores, double divisor) {
  if (records_gradients({scores})) return Probs::apply(layout, scores, divisor);
  mask_and_normalize_all(layout, scores, divisor);
  return scores;
}

at::Tensor attention_context(const AttentionLayout& layout, const at::Tensor& probs,
                             const at::Tensor& value) {
  if (records_gradients({probs, value})) return Context::apply(layout, probs, value);
  return multiply_probs_value(layout, probs, value);
}

}  // namespace quell
