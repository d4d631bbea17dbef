#include "models/blocks/embeddings.h"

#include "models/blocks/layer.h"

namespace quell {

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
    declare_projection(builder, name, names.projection, word_width, /*has_bias=*/false);
  }
  if (shape.positions > 0) {
    builder.table(position_, name + ".position", {names.position, {shape.positions, width}});
  }
  if (shape.token_types > 0) {
    builder.table(token_type_, name + ".token_type",
                  {names.token_type, {shape.token_types, width}});
  }
  if (shape.has_sum_sites && shape.token_types > 0) {
    sum_token_type_site_ = builder.activation(name + ".sum_token_type", "embedding_sum");
  }
  if (shape.has_sum_sites && shape.positions > 0) {
    sum_position_site_ = builder.activation(name + ".sum_position", "embedding_sum");
  }
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

Rows Embeddings::forward(const Pass& pass, const at::Tensor& ids, const at::Tensor& positions,
                         const at::Tensor& types) const {
  const auto add = [&](Rows& rows, const EmbeddingTable& table, const at::Tensor& entries,
                       SiteId site) {
    rows.values.add_(pass.embedding(table, entries).values);
    rows = pass.activation(site, {std::move(rows.values)});
  };
  Rows rows = pass.embedding(word_, ids);
  if (shape_.word_factor != 1) rows.values.mul_(shape_.word_factor);
  if (shape_.word_features > 0) {
    rows = projection_.forward(pass, pass.activation(projected_site_, std::move(rows)));
  }
  if (shape_.token_types > 0) add(rows, token_type_, types, sum_token_type_site_);
  if (shape_.positions > 0) {
    add(rows, position_,
        shape_.first_position == 0 ? positions : positions.add(shape_.first_position),
        sum_position_site_);
  }
  if (shape_.has_norm) rows = pass.norm(norm_, rows);
  rows = pass.dropout(DropoutPlace::kHidden, std::move(rows));
  return shape_.features > 0 ? projection_.forward(pass, rows) : rows;
}

}  // namespace quell
