#include "models/blocks/embeddings.h"

namespace quell {

Embeddings::Embeddings(ModelBuilder& builder, const std::string& name, const EmbeddingNames& names,
                       const EmbeddingShape& shape)
    : shape_(shape) {
  const int64_t features = shape.word_features > 0 ? shape.word_features : shape.hidden;
  ExpectedTensor words{names.word, {shape.vocabulary, features}};
  words.tied_to = names.word_tied_to;
  builder.table(word_, name + ".word", std::move(words));
  if (shape.word_features > 0) {
    projected_site_ = builder.activation(name + ".project.input", "embedding");
    builder.linear(projection_.linear, name + ".project", "embedding_projection", names.projection,
                   shape.hidden, features, /*has_bias=*/false);
    projection_.site = builder.activation(name + ".project", "embedding_projection");
  }
  if (shape.positions > 0) {
    builder.table(position_, name + ".position", {names.position, {shape.positions, shape.hidden}});
  }
  if (shape.token_types > 0) {
    builder.table(token_type_, name + ".token_type",
                  {names.token_type, {shape.token_types, shape.hidden}});
  }
  if (shape.has_sum_sites && shape.token_types > 0) {
    sum_token_type_site_ = builder.activation(name + ".sum_token_type", "embedding_sum");
  }
  if (shape.has_sum_sites && shape.positions > 0) {
    sum_position_site_ = builder.activation(name + ".sum_position", "embedding_sum");
  }
  norm_.epsilon = shape.norm_epsilon;
  if (shape.has_norm) builder.norm(norm_, name + ".norm", names.norm, shape.hidden);
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
  return pass.dropout(DropoutPlace::kHidden, std::move(rows));
}

}  // namespace quell
