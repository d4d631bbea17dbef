// What turns token ids into rows: tables of tokens, token types and positions, and a norm.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "models/blocks/model_builder.h"
#include "models/blocks/projection.h"

namespace quell {

struct EmbeddingShape {
  int64_t vocabulary = 0, hidden = 0;
  int64_t word_features = 0;  // of the table of tokens, where a linear makes `hidden` of them
  int64_t features = 0;       // of all tables and the norm, where a linear behind it does so
  bool has_projection_bias = false;
  bool stores_unread_projection = false;  // the linear is stored although nothing reads it
  // The linear reads the rows of the next token, the token itself and the one before, side by side,
  // with zeros where a sequence has none (MobileBERT, Sun et al. 2020).
  bool trigrams = false;
  int64_t positions = 0;         // rows of the table; 0: there is none
  int64_t first_position = 0;    // its row of position 0
  int64_t token_types = 0;       // rows of the table; 0: there is none
  double word_factor = 1;        // multiplies the rows of tokens
  bool positions_first = false;  // they are added in front of the token types
  bool has_sum_sites = false;    // partial sums are sites
  bool has_norm = true;
  NormKind norm = NormKind::kLayer;
  double norm_epsilon = 1e-5;
};

// Hugging Face names of tensors, and the module of the norm.
struct EmbeddingNames {
  std::string word, position = {}, token_type = {}, norm = {};
  std::string word_tied_to = {};  // where a checkpoint may have the table of tokens instead
  std::string projection = {};    // module of the linear behind the table of tokens or the norm
};

class Embeddings {
 public:
  // `name` begins the names of its sites: "embeddings".
  Embeddings(ModelBuilder& builder, const std::string& name, const EmbeddingNames& names,
             const EmbeddingShape& shape);
  Embeddings(const Embeddings&) = delete;

  // Ids, positions and token types [tokens] of sequences with these offsets [sequences + 1];
  // `types` is not read where there are none.
  Rows forward(const Pass& pass, const at::Tensor& ids, const at::Tensor& positions,
               const at::Tensor& types, std::span<const int64_t> offsets) const;
  // `types` and `positions` as above, [sequences, tokens] or [tokens].
  GraphWriter::Value write(GraphWriter& writer, const GraphWriter::Value& ids,
                           const GraphWriter::Value& positions,
                           const GraphWriter::Value& types) const;
  // Null where there is none.
  Norm* norm() { return shape_.has_norm ? &norm_ : nullptr; }
  // What a linear behind the norm reads, where there is one.
  std::optional<ScaleGroup> projection_group();

 private:
  void declare_projection(ModelBuilder& builder, const std::string& name, const std::string& module,
                          int64_t features, bool has_bias);

  EmbeddingShape shape_;
  EmbeddingTable word_, position_, token_type_;
  Projection projection_;  // behind the table of tokens, or the norm
  Linear unread_projection_;
  SiteId projected_site_ = kNoSite, sum_token_type_site_ = kNoSite, sum_position_site_ = kNoSite;
  Norm norm_;
};

}  // namespace quell
