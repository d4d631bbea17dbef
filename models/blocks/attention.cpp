#include "models/blocks/attention.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/mul.h>

#include "models/blocks/residual.h"

namespace quell {
namespace {

// Rotates the two halves of each head's features, or of as many as have angles, by the angle of the
// row's position (Su et al. 2021), in the order of Hugging Face.
Rows rotated(Rows rows, const RotaryAngles& angles, int64_t head_size) {
  if (!angles.cosines.defined()) return rows;
  const int64_t size = angles.cosines.size(1);
  const at::Tensor all = rows.values.view({rows.values.size(0), -1, head_size});
  const at::Tensor heads = all.narrow(2, 0, size);
  const auto halves = heads.chunk(2, -1);
  const at::Tensor turned = at::cat({halves[1].neg(), halves[0]}, -1);
  at::Tensor result =
      at::mul(heads, angles.cosines.unsqueeze(1)).add_(turned.mul_(angles.sines.unsqueeze(1)));
  if (size < head_size) result = at::cat({result, all.narrow(2, size, head_size - size)}, -1);
  return {result.view(rows.values.sizes())};
}

}  // namespace

AttentionModules fused_attention(const std::string& module, StoredLinear output, int64_t width,
                                 int64_t groups, bool transposed) {
  const int64_t rows = width / groups;
  const auto part = [&](const char* name, int64_t index) {
    return StoredLinear(module + "." + name, {.of = module,
                                              .transposed = transposed,
                                              .groups = groups,
                                              .group_rows = 3 * rows,
                                              .first = index * rows});
  };
  return {part("query", 0), part("key", 1), part("value", 2), std::move(output)};
}

Attention::Attention(ModelBuilder& builder, const std::string& name,
                     const AttentionModules& modules, const AttentionOptions& options, RowsOf keys)
    : layer_(builder.scope().layer), head_size_(options.head_size), shape_(options.shape) {
  const int64_t hidden = options.hidden;
  const int64_t queries = shape_.heads * options.head_size;
  const int64_t width = shape_.key_heads * options.head_size;
  const auto project = [&](Projection& projection, const char* part, const StoredLinear& module,
                           int64_t outputs, RowsOf rows, int64_t inputs) {
    const std::string site = name + "." + part;
    builder.linear(projection.linear, site, part, module, outputs, inputs, options.has_bias);
    projection.site = builder.activation_of(rows, site, part);
  };
  query.factor = options.query_factor;
  project(query, "query", modules.query, queries, builder.scope().rows, hidden);
  project(key, "key", modules.key, width, keys, hidden);
  project(value, "value", modules.value, width, keys,
          options.value_inputs > 0 ? options.value_inputs : hidden);
  if (options.has_scores_site) {
    scores_site_ = builder.attention_matrix(name + ".scores", "scores", shape_.heads, keys);
  }
  probs_site_ = builder.attention_matrix(name + ".probs", "probs", shape_.heads, keys);
  context_site_ = builder.activation(name + ".context", "context");
  builder.linear(output.linear, name + ".output", "attention_output", modules.output, hidden,
                 queries, options.has_output_bias);
  output.site = builder.activation(name + ".output", "attention_output");
}

Rows Attention::read(const Pass& pass, const Projection& projection, const Rows& rows,
                     const RotaryAngles& angles, bool codes_suffice) const {
  if (!angles.cosines.defined()) return projection.forward(pass, rows, codes_suffice);
  return pass.activation(projection.site,
                         rotated(projection.outputs(pass, rows), angles, head_size_));
}

Rows Attention::forward(const Pass& pass, const Rows& rows, const Rows* memory,
                        const SharedSpans& spans, const RotaryAngles& angles, KeyValueCache* cache,
                        const at::Tensor& kept, const Rows* values_of) const {
  return output.forward(pass, context(pass, rows, memory, spans, angles, cache, kept, values_of));
}

Rows Attention::context(const Pass& pass, const Rows& rows, const Rows* memory,
                        const SharedSpans& spans, const RotaryAngles& angles, KeyValueCache* cache,
                        const at::Tensor& kept, const Rows* values_of) const {
  const bool few = kept.defined() && memory == nullptr && cache == nullptr && !spans->causal &&
                   !angles.cosines.defined() &&
                   pass.joins({query.site, scores_site_, probs_site_, context_site_});
  const bool at_once = pass.attends_at_once(scores_site_, probs_site_);
  const bool codes_suffice = at_once && cache == nullptr;
  const Rows queries =
      read(pass, query, few ? chosen_rows(rows, kept) : rows, angles, codes_suffice);
  KeyValueCache::Layer* known = cache == nullptr ? nullptr : &cache->layers[layer_];
  Rows keys, values;
  if (memory != nullptr && known != nullptr && known->memory_keys.defined()) {
    keys = {known->memory_keys};
    values = {known->memory_values};
  } else {
    const Rows& read_rows = memory == nullptr ? rows : *memory;
    keys = read(pass, key, read_rows, angles, codes_suffice);
    values = value.forward(pass, values_of == nullptr ? read_rows : *values_of, codes_suffice);
    if (known != nullptr && memory != nullptr) {
      known->memory_keys = keys.values;
      known->memory_values = values.values;
    } else if (known != nullptr) {
      keys = {cache->append(known->keys, keys.values), keys.grid};
      values = {cache->append(known->values, values.values), values.grid};
    }
  }
  keys = chosen_rows(keys, spans->key_rows);
  values = chosen_rows(values, spans->key_rows);
  if (at_once) {
    const AttentionSpans& seen = few ? one_query_spans(*spans) : *spans;
    const Rows result = pass.attention(seen, shape_, queries, keys, values, scores_site_,
                                       probs_site_, context_site_);
    return few ? result : chosen_rows(result, kept);
  }
  // Scores and probabilities exist only here: as [heads * queries, keys] per sequence, or, where a
  // site needs true rows, as one [sum of heads * queries, columns] matrix.
  const bool equal_widths =
      pass.needs_equal_widths(scores_site_) || pass.needs_equal_widths(probs_site_);
  const AttentionLayout layout(spans, shape_, equal_widths);
  Rows matrices = pass.activation(scores_site_, pass.scores(layout, queries, keys));
  matrices.values = attention_probs(layout, std::move(matrices.values));
  matrices = pass.activation(probs_site_, {std::move(matrices.values)});
  matrices = pass.dropout(DropoutPlace::kAttention, std::move(matrices));
  return chosen_rows(pass.activation(context_site_, pass.context(layout, matrices, values)), kept);
}

GraphWriter::Value Attention::write(GraphWriter& writer, const GraphWriter::Value& rows,
                                    const GraphWriter::Value& mask) const {
  using Value = GraphWriter::Value;
  if (shares_values() || !shape_.slopes.empty()) refuse_graph("this model's attention");
  const Value split = writer.integers({0, 0, shape_.heads, head_size_});
  const auto heads = [&](const Projection& projection, std::vector<int64_t> order) {
    const Value all = writer.operation("Reshape", {projection.write(writer, rows), split});
    return writer.operation("Transpose", {all}, {{"perm", std::move(order)}});
  };
  const Value queries = heads(query, {0, 2, 1, 3}), keys = heads(key, {0, 2, 3, 1}),
              values = heads(value, {0, 2, 1, 3});
  Value scores = writer.activation(scores_site_, writer.operation("MatMul", {queries, keys}));
  scores = writer.operation("Div", {scores, writer.constant(static_cast<float>(shape_.divisor))});
  const Value probs = writer.activation(
      probs_site_, writer.operation("Softmax", {writer.operation("Add", {scores, mask})},
                                    {{"axis", int64_t{-1}}}));
  const Value context = writer.operation("Transpose", {writer.operation("MatMul", {probs, values})},
                                         {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
  const Value joined = writer.integers({0, 0, shape_.heads * head_size_});
  return output.write(
      writer, writer.activation(context_site_, writer.operation("Reshape", {context, joined})));
}

}  // namespace quell
