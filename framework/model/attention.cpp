#include "framework/model/attention.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_softmax.h>
#include <ATen/ops/_softmax_backward_data.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>
#include <algorithm>
#include <limits>
#include <numeric>

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
  const int64_t queries = layout.spans->query_count(sequence);
  const int64_t keys = layout.spans->key_count(sequence);
  const int64_t row = layout.columns > 0 ? layout.columns : keys;
  return buffer.as_strided({layout.shape.heads, queries, keys}, {queries * row, row, 1},
                           buffer.storage_offset() + layout.elements[sequence]);
}

// Packed rows of one sequence as [heads, rows, head size].
at::Tensor heads_of(const at::Tensor& rows, int64_t heads, int64_t first, int64_t count) {
  const int64_t size = rows.size(1) / heads;
  return rows.as_strided({heads, count, size}, {size, rows.stride(0), 1},
                         rows.storage_offset() + first * rows.stride(0));
}

at::Tensor queries_of(const AttentionLayout& layout, const at::Tensor& rows, int64_t sequence) {
  return heads_of(rows, layout.shape.heads, layout.spans->queries[sequence],
                  layout.spans->query_count(sequence));
}

at::Tensor keys_of(const AttentionLayout& layout, const at::Tensor& rows, int64_t sequence) {
  return heads_of(rows, layout.shape.key_heads, layout.spans->keys[sequence],
                  layout.spans->key_count(sequence));
}

int64_t group_size(const AttentionLayout& layout) {
  return layout.shape.heads / layout.shape.key_heads;
}

// Of [heads, ...] those that are the n-th to read each head of the keys, [key heads, ...].
at::Tensor members(const AttentionLayout& layout, const at::Tensor& heads, int64_t n) {
  const int64_t group = group_size(layout);
  return group == 1 ? heads : heads.slice(0, n, heads.size(0), group);
}

// Sequences are independent, and each is too small to be worth two threads of its own.
template <class Work>
void for_each_sequence(const AttentionLayout& layout, const Work& work) {
  parallel_for(0, layout.spans->sequences(), 1, [&](int64_t begin, int64_t end) {
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

// For gradients of keys, which several heads of queries add to.
void add_or_copy(at::Tensor target, const at::Tensor& product, bool add) {
  if (add) {
    target.add_(product);
  } else {
    target.copy_(product);
  }
}

at::Tensor multiply_query_key(const AttentionLayout& layout, const at::Tensor& query,
                              const at::Tensor& key) {
  at::Tensor scores = allocate(layout, query.options());
  for_each_sequence(layout, [&](int64_t i) {
    const at::Tensor matrix = matrix_of(layout, scores, i), queries = queries_of(layout, query, i);
    const at::Tensor keys = keys_of(layout, key, i).transpose(1, 2);
    for (int64_t n = 0; n < group_size(layout); ++n) {
      multiply_into(members(layout, matrix, n), members(layout, queries, n), keys);
    }
  });
  return scores;
}

void mask_and_normalize(at::Tensor scores, const AttentionShape& shape, int64_t valid_keys,
                        bool causal) {
  constexpr float kMasked = -std::numeric_limits<float>::infinity();
  if (shape.divisor != 1) scores.div_(shape.divisor);
  const int64_t queries = scores.size(1), keys = scores.size(2);
  if (!shape.slopes.empty()) {
    const at::Tensor slopes =
        at::tensor(shape.slopes).to(scores.device()).view({shape.heads, 1, 1});
    scores.add_(slopes.mul(at::arange(keys, scores.options())));
  }
  if (valid_keys < keys) scores.narrow(2, valid_keys, keys - valid_keys).fill_(kMasked);
  if (causal && queries > 1) {
    const at::Tensor later =
        at::ones({queries, keys}, scores.options().dtype(at::kBool)).triu_(keys - queries + 1);
    scores.masked_fill_(later, kMasked);
  }
  if (scores.is_contiguous()) {
    at::_softmax_out(scores, scores, -1, /*half_to_float=*/false);
  } else {
    scores.copy_(at::_softmax(scores, -1, /*half_to_float=*/false));
  }
}

void mask_and_normalize_all(const AttentionLayout& layout, const at::Tensor& scores) {
  for_each_sequence(layout, [&](int64_t i) {
    mask_and_normalize(matrix_of(layout, scores, i), layout.shape, layout.spans->valid_keys[i],
                       layout.spans->causal);
  });
}

at::Tensor multiply_probs_value(const AttentionLayout& layout, const at::Tensor& probs,
                                const at::Tensor& value) {
  const int64_t width = value.size(1) * group_size(layout);
  at::Tensor rows = at::empty({layout.spans->queries.back(), width}, value.options());
  for_each_sequence(layout, [&](int64_t i) {
    const at::Tensor matrix = matrix_of(layout, probs, i), values = keys_of(layout, value, i);
    const at::Tensor context = queries_of(layout, rows, i);
    for (int64_t n = 0; n < group_size(layout); ++n) {
      members(layout, context, n).copy_(at::bmm(members(layout, matrix, n), values));
    }
  });
  return rows;
}

// What autograd keeps of a layout.
struct SavedLayout : torch::CustomClassHolder {
  explicit SavedLayout(AttentionLayout saved) : layout(std::move(saved)) {}
  AttentionLayout layout;
};

void save(const AttentionLayout& layout, AutogradContext* context) {
  context->saved_data["layout"] =
      at::IValue::make_capsule(c10::make_intrusive<SavedLayout>(layout));
}

AttentionLayout saved_layout(AutogradContext* context) {
  const auto holder = context->saved_data["layout"].toCapsule();
  return static_cast<const SavedLayout&>(*holder).layout;
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
      const at::Tensor keys = keys_of(layout, key, i);
      for (int64_t n = 0; n < group_size(layout); ++n) {
        const at::Tensor part = members(layout, matrix_of(layout, gradient, i), n);
        members(layout, queries_of(layout, for_query, i), n).copy_(at::bmm(part, keys));
        const at::Tensor queries = members(layout, queries_of(layout, query, i), n);
        add_or_copy(keys_of(layout, for_key, i), at::bmm(part.transpose(1, 2), queries), n > 0);
      }
    });
    return {at::Tensor(), for_query, for_key};
  }
};

struct Probs : Function<Probs> {
  static at::Tensor forward(AutogradContext* context, const AttentionLayout& layout,
                            const at::Tensor& scores) {
    at::Tensor probs = scores.detach().clone();
    mask_and_normalize_all(layout, probs);
    save(layout, context);
    context->save_for_backward({probs});
    return probs;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const AttentionLayout layout = saved_layout(context);
    const at::Tensor gradient = gradients[0].contiguous();
    const at::Tensor probs = context->get_saved_variables()[0].detach();
    at::Tensor for_scores = allocate(layout, probs.options());
    for_each_sequence(layout, [&](int64_t i) {
      matrix_of(layout, for_scores, i)
          .copy_(at::_softmax_backward_data(matrix_of(layout, gradient, i),
                                            matrix_of(layout, probs, i), -1, at::kFloat)
                     .div_(layout.shape.divisor));
    });
    return {at::Tensor(), for_scores};
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
      const at::Tensor values = keys_of(layout, value, i).transpose(1, 2);
      for (int64_t n = 0; n < group_size(layout); ++n) {
        const at::Tensor part = members(layout, queries_of(layout, gradient, i), n);
        multiply_into(members(layout, matrix_of(layout, for_probs, i), n), part, values);
        const at::Tensor matrix = members(layout, matrix_of(layout, probs, i), n);
        add_or_copy(keys_of(layout, for_value, i), at::bmm(matrix.transpose(1, 2), part), n > 0);
      }
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

SharedSpans self_attention_spans(const Batch& batch) {
  return std::make_shared<AttentionSpans>(AttentionSpans{
      batch.offsets, batch.offsets, batch.valid_lengths, /*causal=*/false, batch.pad_to});
}

AttentionSpans one_query_spans(const AttentionSpans& spans) {
  AttentionSpans result = spans;
  std::iota(result.queries.begin(), result.queries.end(), int64_t{0});
  return result;
}

// Behind a context, the keys of a sequence are those of the context and then its own.
static SharedSpans spans_behind_contexts(const Batch& batch) {
  AttentionSpans spans{.queries = batch.offsets,
                       .keys = {0},
                       .valid_keys = {},
                       .causal = true,
                       .pad_to = batch.pad_to};
  std::vector<int64_t> rows;
  const auto add = [&](int64_t sequence) {
    for (int64_t row = batch.offsets[sequence]; row < batch.offsets[sequence + 1]; ++row) {
      rows.push_back(row);
    }
  };
  for (int64_t i = 0; i < batch.sequences(); ++i) {
    if (batch.contexts[i] >= 0) add(batch.contexts[i]);
    add(i);
    spans.keys.push_back(std::ssize(rows));
    spans.valid_keys.push_back(batch.context_length(i) + batch.length(i));
  }
  spans.key_rows = at::tensor(rows, at::kLong);
  return std::make_shared<AttentionSpans>(std::move(spans));
}

SharedSpans causal_attention_spans(const Batch& batch) {
  if (!batch.contexts.empty()) return spans_behind_contexts(batch);
  return std::make_shared<AttentionSpans>(
      AttentionSpans{batch.target_offsets(), batch.target_offsets(), batch.target_valid_lengths(),
                     /*causal=*/true, batch.target_pad_to()});
}

SharedSpans cross_attention_spans(const Batch& batch) {
  return std::make_shared<AttentionSpans>(AttentionSpans{
      batch.target_offsets(), batch.offsets, batch.valid_lengths, /*causal=*/false, batch.pad_to});
}

AttentionLayout::AttentionLayout(SharedSpans attention_spans, AttentionShape attention_shape,
                                 bool rows_needed)
    : spans(std::move(attention_spans)), shape(std::move(attention_shape)), elements{0} {
  if (rows_needed) columns = spans->pad_to;
  for (int64_t i = 0; rows_needed && i < spans->sequences(); ++i) {
    columns = std::max(columns, spans->key_count(i));
  }
  for (int64_t i = 0; i < spans->sequences(); ++i) {
    const int64_t row = columns > 0 ? columns : spans->key_count(i);
    elements.push_back(elements.back() + shape.heads * spans->query_count(i) * row);
  }
}

at::Tensor attention_scores(const AttentionLayout& layout, const at::Tensor& query,
                            const at::Tensor& key) {
  if (records_gradients({query, key})) return Scores::apply(layout, query, key);
  return multiply_query_key(layout, query, key);
}

at::Tensor attention_probs(const AttentionLayout& layout, at::Tensor scores) {
  if (records_gradients({scores})) return Probs::apply(layout, scores);
  mask_and_normalize_all(layout, scores);
  return scores;
}

at::Tensor attention_context(const AttentionLayout& layout, const at::Tensor& probs,
                             const at::Tensor& value) {
  if (records_gradients({probs, value})) return Context::apply(layout, probs, value);
  return multiply_probs_value(layout, probs, value);
}

}  // namespace quell
