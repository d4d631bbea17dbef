#include "models/blocks/attention_products.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_softmax.h>
#include <ATen/ops/_softmax_backward_data.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
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

// The matrix of one sequence as [heads, length, length], without additional columns.
at::Tensor matrix_of(const AttentionLayout& layout, const at::Tensor& buffer, int64_t sequence) {
  const int64_t length = layout.length(sequence);
  const int64_t row = layout.columns > 0 ? layout.columns : length;
  return buffer.as_strided({layout.heads, length, length}, {length * row, row, 1},
                           buffer.storage_offset() + layout.elements[sequence]);
}

// The packed rows of one sequence as [heads, length, head size].
at::Tensor heads_of(const AttentionLayout& layout, const at::Tensor& rows, int64_t sequence) {
  const int64_t size = rows.size(1) / layout.heads;
  return rows.as_strided({layout.heads, layout.length(sequence), size}, {size, rows.stride(0), 1},
                         rows.storage_offset() + layout.tokens[sequence] * rows.stride(0));
}

// Sequences are independent, and each is too small to be worth two threads of its own.
template <class Work>
void for_each_sequence(const AttentionLayout& layout, const Work& work) {
  parallel_for(0, layout.sequences(), 1, [&](int64_t begin, int64_t end) {
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
    multiply_into(matrix_of(layout, scores, i), heads_of(layout, query, i),
                  heads_of(layout, key, i).transpose(1, 2));
  });
  return scores;
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

void mask_and_normalize_all(const AttentionLayout& layout, const at::Tensor& scores,
                            double divisor) {
  for_each_sequence(layout, [&](int64_t i) {
    mask_and_normalize(matrix_of(layout, scores, i), divisor, layout.valid_lengths[i]);
  });
}

at::Tensor multiply_probs_value(const AttentionLayout& layout, const at::Tensor& probs,
                                const at::Tensor& value) {
  at::Tensor rows = at::empty_like(value);
  for_each_sequence(layout, [&](int64_t i) {
    heads_of(layout, rows, i)
        .copy_(at::bmm(matrix_of(layout, probs, i), heads_of(layout, value, i)));
  });
  return rows;
}

void save(const AttentionLayout& layout, AutogradContext* context) {
  context->saved_data["heads"] = layout.heads;
  context->saved_data["columns"] = layout.columns;
  context->saved_data["tokens"] = layout.tokens;
  context->saved_data["valid_lengths"] = layout.valid_lengths;
}

AttentionLayout saved_layout(AutogradContext* context) {
  auto& saved = context->saved_data;
  return {saved["heads"].toInt(), saved["columns"].toInt(), saved["tokens"].toIntVector(),
          saved["valid_lengths"].toIntVector()};
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
      heads_of(layout, for_query, i).copy_(at::bmm(part, heads_of(layout, key, i)));
      heads_of(layout, for_key, i).copy_(at::bmm(part.transpose(1, 2), heads_of(layout, query, i)));
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
      const at::Tensor part = heads_of(layout, gradient, i);
      multiply_into(matrix_of(layout, for_probs, i), part,
                    heads_of(layout, value, i).transpose(1, 2));
      heads_of(layout, for_value, i)
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

AttentionLayout::AttentionLayout(const Batch& batch, int64_t head_count, bool rows_needed)
    : AttentionLayout(head_count, 0, batch.offsets, batch.valid_lengths) {
  if (!rows_needed) return;
  int64_t longest = batch.pad_to;
  for (int64_t i = 0; i < sequences(); ++i) longest = std::max(longest, length(i));
  *this = AttentionLayout(head_count, longest, batch.offsets, batch.valid_lengths);
}

AttentionLayout::AttentionLayout(int64_t head_count, int64_t column_count,
                                 std::vector<int64_t> first_tokens, std::vector<int64_t> valid)
    : heads(head_count),
      columns(column_count),
      tokens(std::move(first_tokens)),
      valid_lengths(std::move(valid)),
      elements{0} {
  for (int64_t i = 0; i < sequences(); ++i) {
    elements.push_back(elements.back() + heads * length(i) * (columns > 0 ? columns : length(i)));
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
