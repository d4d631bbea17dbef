#include "models/blocks/embeddings.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <vector>

#include "models/blocks/layer.h"

namespace quell {
namespace {

constexpr int64_t kNeighbours = 3;

// Rows of the next token, of the token, and of the one before, [tokens, 3 * features].
at::Tensor with_neighbours(const at::Tensor& rows, std::span<const int64_t> offsets) {
  const int64_t tokens = rows.size(0);
  std::vector<int64_t> next(static_cast<size_t>(tokens)), previous(next);
  for (size_t i = 0; i + 1 < offsets.size(); ++i) {
    for (int64_t row = offsets[i]; row < offsets[i + 1]; ++row) {
      next[row] = row + 1 < offsets[i + 1] ? row + 1 : tokens;  // of the row of zeros
      previous[row] = row > offsets[i] ? row - 1 : tokens;
    }
  }
  const at::Tensor all = at::cat({rows, at::zeros({1, rows.size(1)}, rows.options())});
  const auto rows_at = [&](const std::vector<int64_t>& indices) {
    return at::index_select(all, 0, at::tensor(indices, at::kLong).to(rows.device()));
  };
  return at::cat({rows_at(next), rows, rows_at(previous)}, 1);
}

}  // namespace

Embeddings::Embeddings(ModelBuilder& builder, const std::string& name, const EmbeddingNames& names,
                       const EmbeddingShape& shape)
    : shape_(shape) {
  const int64_t width = shape.features > 0 ? shape.features : shape.hidden;
  const int64_t word_width = shape.word_features > 0 ? shape.word_features : width;
  ExpectedTensor words{names.word, {shape.vocabulary, word_width}};
  words.tied_to = names.word_tied_to;
  builder.table(word_, name + ".word", std::move(words));
  if (shape.word_features > 0) {
    projected_site_ = builder.activation(name + ".project.input", "embedding");
    declare_projection(builder, name, names.projection,
                       shape.trigrams ? kNeighbours * word_width : word_width,
                       shape.has_projection_bias);
  }
  if (shape.stores_unread_projection) {
    builder.unread(unread_projection_, names.projection, {shape.hidden, word_width});
  }
  if (shape.positions > 0) {
    builder.table(position_, name + ".position", {names.position, {shape.positions, width}});
  }
  if (shape.token_types > 0) {
    builder.table(token_type_, name + ".token_type",
                  {names.token_type, {shape.token_types, width}});
  }
  const auto declare_sum = [&](SiteId& site, const char* part, int64_t entries) {
    if (shape.has_sum_sites && entries > 0) site = builder.activation(name + part, "embedding_sum");
  };
  if (shape.positions_first) declare_sum(sum_position_site_, ".sum_position", shape.positions);
  declare_sum(sum_token_type_site_, ".sum_token_type", shape.token_types);
  if (!shape.positions_first) declare_sum(sum_position_site_, ".sum_position", shape.positions);
  norm_.kind = shape.norm;
  norm_.epsilon = shape.norm_epsilon;
  if (shape.has_norm) builder.norm(norm_, name + ".norm", names.norm, width);
  if (shape.features > 0) {
    declare_projection(builder, name, names.projection, width, /*has_bias=*/true);
  }
}

void Embeddings::declare_projection(ModelBuilder& builder, const std::string& name,
                                    const std::string& module, int64_t features, bool has_bias) {
  const std::string site = name + ".project", role = "embedding_projection";
  builder.linear(projection_.linear, site, role, module, shape_.hidden, features, has_bias);
  projection_.site = builder.activation(site, role);
}

std::optional<ScaleGroup> Embeddings::projection_group() {
  if (shape_.features == 0) return std::nullopt;
  ScaleGroup group = norm_group(norm_);
  group.readers = {&projection_.linear};
  group.local = [this](const Rows& rows, const State&, const ModelInput&, const Pass& pass) {
    return projection_.forward(pass, rows);
  };
  return group;
}

GraphWriter::Value Embeddings::write(GraphWriter& writer, const GraphWriter::Value& ids,
                                     const GraphWriter::Value& positions,
                                     const GraphWriter::Value& types) const {
  using Value = GraphWriter::Value;
  if (shape_.word_features > 0 || shape_.positions_first) refuse_graph("MobileBERT's embeddings");
  const auto add = [&](const Value& rows, const EmbeddingTable& table, const Value& entries,
                       SiteId site) {
    return writer.activation(site,
                             writer.operation("Add", {rows, writer.embedding(table, entries)}));
  };
  Value rows = writer.embedding(word_, ids);
  if (shape_.word_factor != 1) {
    const auto factor = static_cast<float>(shape_.word_factor);
    rows = writer.operation("Mul", {rows, writer.constant(factor)});
  }
  if (shape_.token_types > 0) rows = add(rows, token_type_, types, sum_token_type_site_);
  if (shape_.positions > 0) {
    const Value entries =
        shape_.first_position == 0
            ? positions
            : writer.operation("Add", {positions, writer.integer(shape_.first_position)});
    rows = add(rows, position_, entries, sum_position_site_);
  }
  if (shape_.has_norm) rows = writer.norm(norm_, rows);
  return shape_.features > 0 ? projection_.write(writer, rows) : rows;
}

Rows Embeddings::forward(const Pass& pass, const at::Tensor& ids, const at::Tensor& positions,
                         const at::Tensor& types, std::span<const int64_t> offsets) const {
  const auto add = [&](Rows& rows, const EmbeddingTable& table, const at::Tensor& entries,
                       SiteId site) {
    rows.values.add_(pass.embedding(table, entries).values);
    rows = pass.activation(site, {std::move(rows.values)});
  };
  Rows rows = pass.embedding(word_, ids);
  if (shape_.word_factor != 1) rows.values.mul_(shape_.word_factor);
  if (shape_.trigrams) rows = {with_neighbours(rows.values, offsets)};
  if (shape_.word_features > 0) {
    rows = projection_.forward(pass, pass.activation(projected_site_, std::move(rows)));
  }
  const auto add_positions = [&] {
    add(rows, position_,
        shape_.first_position == 0 ? positions : positions.add(shape_.first_position),
        sum_position_site_);
  };
  if (shape_.positions > 0 && shape_.positions_first) add_positions();
  if (shape_.token_types > 0) add(rows, token_type_, types, sum_token_type_site_);
  if (shape_.positions > 0 && !shape_.positions_first) add_positions();
  if (shape_.has_norm) rows = pass.norm(norm_, rows);
  rows = pass.dropout(DropoutPlace::kHidden, std::move(rows));
  return shape_.features > 0 ? projection_.forward(pass, rows) : rows;
}

}  // namespace quell
