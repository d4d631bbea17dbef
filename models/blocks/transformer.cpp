#include "models/blocks/transformer.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty_like.h>
#include <fmt/format.h>
#include <algorithm>
#include <limits>

#include "framework/base/error.h"
#include "framework/quant/device.h"
#include "models/blocks/published_names.h"

namespace quell {
namespace {

// Types of values, by their numbers in ONNX.
constexpr int64_t kOnnxFloat = 1, kOnnxInt64 = 7;

}  // namespace

Transformer::Transformer(TransformerShape shape, std::unique_ptr<Head> head)
    : shape_(std::move(shape)), head_(std::move(head)) {
  ModelBuilder builder([this](Site site) { return add_site(std::move(site)); });
  const auto declare = [&](std::optional<Stack>& stack, const StackShape& stack_shape,
                           bool is_encoder) {
    stack.emplace(Stack{stack_shape});
    declare_embeddings(*stack, builder, is_encoder);
    declare_layers(*stack, builder, is_encoder);
    if (!stack_shape.final_norm.empty()) declare_final_norm(*stack, builder, is_encoder);
  };
  if (shape_.encoder) declare(encoder_, *shape_.encoder, /*is_encoder=*/true);
  if (shape_.decoder) declare(decoder_, *shape_.decoder, /*is_encoder=*/false);
  declare_head(builder);
  declare_groups();
  add_published_names(shape_.family, mutable_sites());
}

void Transformer::declare_embeddings(Stack& stack, ModelBuilder& builder, bool is_encoder) {
  const RowsOf rows = is_encoder ? RowsOf::kTokens : RowsOf::kTargets;
  Segment& segment = add_segment(stack.shape.embeddings);
  segment.is_encoder = is_encoder && shape_.decoder.has_value();
  builder.enter({&segment, stack.shape.name, -1, stack.shape.layers, rows});
  if (segments().size() == 1 && !shape_.shared_table.empty()) {
    const EmbeddingShape& embedding = stack.shape.embedding;
    builder.tensor(shared_table_, {shape_.shared_table,
                                   {embedding.vocabulary, embedding.hidden},
                                   /*optional=*/true});
  }
  stack.embeddings = std::make_unique<Embeddings>(
      builder, stack.shape.embeddings, stack.shape.embedding_names, stack.shape.embedding);
  const Embeddings& embeddings = *stack.embeddings;
  if (is_encoder) {
    segment.run = [&embeddings](State& state, const ModelInput& input, const Pass& pass) {
      state.rows = embeddings.forward(pass, input.token_ids, input.position_ids, input.segment_ids,
                                      input.batch.offsets);
    };
  } else {
    segment.run = [&embeddings](State& state, const ModelInput& input, const Pass& pass) {
      state.memory = std::move(state.rows);
      state.rows = embeddings.forward(pass, input.target_ids, input.target_position_ids, {},
                                      input.batch.target_offsets());
    };
  }
}

void Transformer::declare_layers(Stack& stack, ModelBuilder& builder, bool is_encoder) {
  const StackShape& shape = stack.shape;
  for (int64_t i = 0; i < shape.layers; ++i) {
    Segment& segment = add_segment(fmt::format("{}.{}", shape.name, i));
    segment.is_encoder = is_encoder && shape_.decoder.has_value();
    builder.enter(
        {&segment, shape.name, i, shape.layers, is_encoder ? RowsOf::kTokens : RowsOf::kTargets});
    stack.layers.emplace_back(builder, shape.layer, shape.layer_names, i);
    const auto index = static_cast<size_t>(i);
    segment.run = [this, &stack, index](State& state, const ModelInput& input, const Pass& pass) {
      state.rows = run_layer(stack, index, state, input, pass);
    };
  }
}

void Transformer::declare_final_norm(Stack& stack, ModelBuilder& builder, bool is_encoder) {
  Segment& segment = add_segment(stack.shape.name + ".norm");
  segment.is_encoder = is_encoder && shape_.decoder.has_value();
  builder.enter({&segment, stack.shape.name, -1, stack.shape.layers,
                 is_encoder ? RowsOf::kTokens : RowsOf::kTargets});
  Norm& norm = stack.final_norm;
  norm.kind = stack.shape.layer.residual.norm;
  norm.epsilon = stack.shape.layer.residual.epsilon;
  builder.norm(norm, segment.name, stack.shape.final_norm, stack.shape.embedding.hidden);
  segment.run = [&norm](State& state, const ModelInput&, const Pass& pass) {
    state.rows = pass.norm(norm, state.rows);
  };
}

void Transformer::declare_head(ModelBuilder& builder) {
  Segment& segment = add_segment("head");
  builder.enter({&segment, "", -1, 0, head_->output_rows()});
  head_->declare(shape_.head, builder);
  segment.run = [this](State& state, const ModelInput& input, const Pass& pass) {
    state.outputs = head_->run(state.rows, input, pass);
    for (auto& [name, values] : state.outputs) values = on_host(values, "outputs");
  };
}

Norm* Transformer::declare_groups(Stack& stack) {
  Norm* last = stack.embeddings->norm();
  if (std::optional<ScaleGroup> group = stack.embeddings->projection_group()) {
    add_group(std::move(*group));
    last = nullptr;
  }
  for (Layer& layer : stack.layers) {
    layer.add_groups(last, [this](ScaleGroup group) { add_group(std::move(group)); });
  }
  const bool pre = stack.shape.layer.residual.place == NormPlace::kPre;
  if (!stack.shape.final_norm.empty()) return &stack.final_norm;
  return pre ? nullptr : last;
}

void Transformer::declare_groups() {
  if (encoder_) {
    if (Norm* last = declare_groups(*encoder_); last != nullptr && decoder_) {
      ScaleGroup group = norm_group(*last);
      group.outlier_suppression_skips = true;
      for (Layer& layer : decoder_->layers) layer.add_memory_readers(group);
      add_group(std::move(group));
    } else if (last != nullptr) {
      add_head_group(*last);
    }
  }
  if (!decoder_) return;
  if (Norm* last = declare_groups(*decoder_)) add_head_group(*last);
}

void Transformer::add_head_group(Norm& norm) {
  ScaleGroup group = norm_group(norm);
  group.outlier_suppression_skips = true;
  group.readers = {&head_->first_linear()};
  add_group(std::move(group));
}

void Transformer::check_token_types(const Batch& batch) const {
  const int64_t types = shape_.encoder ? shape_.encoder->embedding.token_types : 0;
  if (types == 0) return;
  const int64_t* ids = batch.segment_ids.const_data_ptr<int64_t>();
  const auto [smallest, largest] = std::minmax_element(ids, ids + batch.segment_ids.numel());
  if (*smallest >= 0 && *largest < types) return;
  throw DataError(
      fmt::format("segment id {} is outside of the model's {} token types; the token ids "
                  "belong to another model",
                  *smallest < 0 ? *smallest : *largest, types));
}

at::Tensor Transformer::positions(const Batch& batch) const {
  if (!shape_.positions_behind_padding) return batch.position_ids;
  at::Tensor positions = at::empty_like(batch.token_ids);
  const int64_t* tokens = batch.token_ids.const_data_ptr<int64_t>();
  int64_t* position = positions.mutable_data_ptr<int64_t>();
  for (int64_t sequence = 0; sequence < batch.sequences(); ++sequence) {
    int64_t last = shape_.pad_id;
    for (int64_t i = batch.offsets[sequence]; i < batch.offsets[sequence + 1]; ++i) {
      position[i] = tokens[i] == shape_.pad_id ? shape_.pad_id : ++last;
    }
  }
  return positions;
}

at::Tensor Transformer::decoder_ids(const Batch& batch) const {
  if (!encoder_) return batch.token_ids;
  if (batch.decoder_token_ids.defined()) return batch.decoder_token_ids;
  at::Tensor shifted = at::empty_like(batch.token_ids);
  const int64_t* ids = batch.token_ids.const_data_ptr<int64_t>();
  int64_t* target = shifted.mutable_data_ptr<int64_t>();
  for (int64_t i = 0; i < batch.sequences(); ++i) {
    target[batch.offsets[i]] = shape_.decoder_start_id;
    for (int64_t row = batch.offsets[i] + 1; row < batch.offsets[i + 1]; ++row) {
      target[row] = ids[row - 1];
    }
  }
  return shifted;
}

void Transformer::complete(ModelInput& input) const {
  const Batch& batch = input.batch;
  check_token_types(batch);
  if (encoder_) {
    input.position_ids = positions(batch);
    input.self_attention = self_attention_spans(batch);
  }
  if (decoder_) {
    input.target_ids = decoder_ids(batch);
    input.target_position_ids = batch.target_position_ids();
    input.target_attention = causal_attention_spans(batch);
    if (encoder_) input.cross_attention = cross_attention_spans(batch);
  }
  if (shape_.rotary) input.rotary = rotary_angles(*shape_.rotary, batch);
}

// Where the head reads the first token of each sequence: behind the last attention no token reads
// another. The others are left out, but not while somebody looks at them, nor while learning, where
// their number scales gradients.
Rows Transformer::run_layer(const Stack& stack, size_t index, const State& state,
                            const ModelInput& input, const Pass& pass) const {
  const Layer& layer = stack.layers[index];
  const bool leaves_out = index + 1 == stack.layers.size() && head_->reads_first_tokens() &&
                          !at::GradMode::is_enabled() && layer.may_leave_out_rows(pass);
  return layer.forward(pass, state, input, leaves_out ? input.first_rows : at::Tensor());
}

// Of padded sequences, as positions() has them.
GraphWriter::Value Transformer::write_positions(GraphWriter& writer,
                                                const GraphWriter::Value& ids) const {
  using Value = GraphWriter::Value;
  const std::vector<GraphWriter::Attribute> to_int64 = {{"to", kOnnxInt64}};
  if (!shape_.positions_behind_padding) {
    const Value tokens =
        writer.operation("Gather", {writer.operation("Shape", {ids}), writer.integer(1)});
    return writer.operation("Range", {writer.integer(0), tokens, writer.integer(1)});
  }
  const Value padding = writer.operation("Equal", {ids, writer.integer(shape_.pad_id)});
  const Value real = writer.operation("Cast", {writer.operation("Not", {padding})}, to_int64);
  const Value count = writer.operation("CumSum", {real, writer.integer(1)});
  return writer.operation("Add",
                          {writer.operation("Mul", {count, real}), writer.integer(shape_.pad_id)});
}

void Transformer::write(GraphWriter& writer) const {
  using Value = GraphWriter::Value;
  if (!encoder_ || decoder_ || shape_.rotary) refuse_graph("a model with a decoder");
  const Value ids = writer.input("input_ids");
  const Value is_token =
      writer.operation("Cast", {writer.input("attention_mask")}, {{"to", kOnnxFloat}});
  const Value is_padding = writer.operation("Sub", {writer.constant(1), is_token});
  const Value wide = writer.operation("Unsqueeze", {is_padding, writer.integers({1, 2})});
  const Value mask =
      writer.operation("Mul", {wide, writer.constant(std::numeric_limits<float>::lowest())});
  const bool has_types = shape_.encoder->embedding.token_types > 0;
  Value rows = encoder_->embeddings->write(writer, ids, write_positions(writer, ids),
                                           has_types ? writer.input("token_type_ids") : "");
  for (const Layer& layer : encoder_->layers) rows = layer.write(writer, rows, mask);
  if (!encoder_->shape.final_norm.empty()) rows = writer.norm(encoder_->final_norm, rows);
  head_->write(writer, rows);
}

}  // namespace quell
