// A transformer described by data (Vaswani et al. 2017): an encoder, a decoder, or both, and a
// head.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "models/blocks/embeddings.h"
#include "models/blocks/head.h"
#include "models/blocks/layer.h"
#include "models/blocks/rotary.h"

namespace quell {

// Embeddings and layers.
struct StackShape {
  std::string name;        // "encoder": of the sites and segments of its layers
  std::string embeddings;  // "embeddings": of those sites, and of their segment
  EmbeddingShape embedding;
  EmbeddingNames embedding_names;
  int64_t layers = 0;
  LayerShape layer;
  LayerNames layer_names;
  std::string final_norm = {};  // module of a norm behind the layers; empty: there is none
};

struct TransformerShape {
  std::string family;             // of the tables of published names: "bert"
  std::string checkpoint_prefix;  // of all tensors but the head's: "bert."
  std::optional<StackShape> encoder;
  // Without an encoder it reads the batch's tokens. With one it reads the decoder side of the
  // batch, or, where there is none, the tokens themselves, one place later and behind the start
  // token: what BART classifies and answers questions by.
  std::optional<StackShape> decoder = {};
  // Where a checkpoint may have the table of tokens that others are tied to; empty: nowhere.
  std::string shared_table = {};
  HeadSizes head;
  int64_t max_positions = 0;
  int64_t pad_id = 0;
  // Positions count from behind the id of the padding token, and padding has that one (RoBERTa).
  bool positions_behind_padding = false;
  int64_t decoder_start_id = -1;
  std::optional<RotaryShape> rotary = {};
  DropoutRates dropout = {};
};

// A plug-in's model: shape and head make it.
class Transformer : public Model {
 public:
  Transformer(TransformerShape shape, std::unique_ptr<Head> head);

  DropoutRates dropout_rates() const override { return shape_.dropout; }
  int64_t max_positions() const override { return shape_.max_positions; }
  int64_t vocabulary_size() const override { return shape_.head.vocabulary; }
  int64_t pad_id() const override { return shape_.pad_id; }
  RowsOf output_rows() const override { return head_->output_rows(); }
  Outputs zero_outputs(const Batch& batch) const override { return head_->zero_outputs(batch); }
  void write(GraphWriter& writer) const override;
  // A decoder alone keeps nothing yet that it could go on from.
  bool writes_text() const override { return decoder_ && head_->writes_text(); }

 protected:
  void complete(ModelInput& input) const override;
  std::string checkpoint_prefix() const override { return shape_.checkpoint_prefix; }

 private:
  struct Stack {
    const StackShape& shape;
    std::unique_ptr<Embeddings> embeddings = {};
    std::deque<Layer> layers = {};
    Norm final_norm = {};
  };

  void declare_embeddings(Stack& stack, ModelBuilder& builder, bool is_encoder);
  void declare_layers(Stack& stack, ModelBuilder& builder, bool is_encoder);
  void declare_final_norm(Stack& stack, ModelBuilder& builder, bool is_encoder);
  void declare_head(ModelBuilder& builder);
  void declare_groups();
  void add_head_group(Norm& norm);
  // All groups of a stack but those behind its last norm, which it returns.
  Norm* declare_groups(Stack& stack);
  Rows run_layer(const Stack& stack, size_t index, const State& state, const ModelInput& input,
                 const Pass& pass) const;
  at::Tensor positions(const Batch& batch) const;
  at::Tensor decoder_ids(const Batch& batch) const;
  GraphWriter::Value write_positions(GraphWriter& writer, const GraphWriter::Value& ids) const;
  void check_token_types(const Batch& batch) const;

  TransformerShape shape_;
  std::unique_ptr<Head> head_;
  at::Tensor shared_table_;
  std::optional<Stack> encoder_, decoder_;
};

}  // namespace quell
