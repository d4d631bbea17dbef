#include "models/blocks/encoder_decoder.h"

#include <ATen/ops/empty_like.h>
#include <fmt/format.h>
#include <set>

#include "models/blocks/cached_decoding.h"

namespace quell {
namespace {

// One of each tensor, under its first name: a tied one is trained and counted once.
std::map<std::string, at::Tensor> without_ties(const std::map<std::string, at::Tensor>& tensors) {
  std::map<std::string, at::Tensor> result;
  std::set<const void*> seen;
  const auto add = [&](const std::string& name, const at::Tensor& tensor) {
    if (seen.insert(tensor.const_data_ptr()).second) result[name] = tensor;
  };
  const auto shared = tensors.find("model.shared.weight");
  if (shared != tensors.end()) add(shared->first, shared->second);
  for (const auto& [name, tensor] : tensors) add(name, tensor);
  return result;
}

}  // namespace

EncoderDecoder::EncoderDecoder(const Checkpoint& checkpoint, std::unique_ptr<Head> head)
    : config_(checkpoint), head_(std::move(head)), tensors_(load(checkpoint)) {
  const auto add = [this](Site site) { return add_site(std::move(site)); };
  Declarations in_encoder(tensors_, add, config_.encoder.layers, "encoder");
  declare_stack(encoder_, config_, in_encoder);
  Declarations in_decoder(tensors_, add, config_.decoder.layers, "decoder");
  declare_stack(decoder_, config_, in_decoder);
  head_site_ = next_site();
  head_->declare(head_sizes(), in_decoder);
  site_weights_ = in_encoder.weights();
  site_weights_.insert(in_decoder.weights().begin(), in_decoder.weights().end());
  declare_segments();
  declare_norm_groups();
}

std::map<std::string, at::Tensor> EncoderDecoder::load(const Checkpoint& checkpoint) const {
  std::vector<ExpectedTensor> expected;
  expected.push_back({"model.shared.weight",
                      {config_.vocabulary_size, config_.hidden},
                      /*optional=*/true});
  expect_stack(encoder_, config_, expected);
  expect_stack(decoder_, config_, expected);
  head_->expect(head_sizes(), expected);
  return checkpoint.load(expected, {"position_ids"}, "model.");
}

int64_t EncoderDecoder::other_parameters() const {
  int64_t total = 0;
  std::set<const void*> sites;
  for (const auto& [id, tensor] : site_weights_) sites.insert(tensor.const_data_ptr());
  for (const auto& [name, tensor] : without_ties(tensors_)) {
    if (sites.count(tensor.const_data_ptr()) == 0) total += tensor.numel();
  }
  return total;
}

std::map<std::string, at::Tensor> EncoderDecoder::parameters() const {
  std::map<std::string, at::Tensor> parameters = without_ties(tensors_);
  const auto add = [&](const std::string& name, const Shortcut& shortcut) {
    if (shortcut.scale.defined()) parameters[name] = shortcut.scale;
  };
  for (const PostNormStack* stack : {&encoder_, &decoder_}) {
    for (const PostNormLayer& layer : stack->layers) {
      add(layer.attention.shortcut_name, layer.attention.shortcut);
      if (layer.cross_attention) {
        add(layer.cross_attention->shortcut_name, layer.cross_attention->shortcut);
      }
      add(layer.ffn.shortcut_name, layer.ffn.shortcut);
    }
  }
  return parameters;
}

at::Tensor EncoderDecoder::decoder_ids(const Batch& batch) const {
  if (batch.decoder_token_ids.defined()) return batch.decoder_token_ids;
  at::Tensor shifted = at::empty_like(batch.token_ids);
  const int64_t* ids = batch.token_ids.const_data_ptr<int64_t>();
  int64_t* target = shifted.mutable_data_ptr<int64_t>();
  for (int64_t i = 0; i < batch.sequences(); ++i) {
    target[batch.offsets[i]] = config_.decoder_start_id;
    for (int64_t row = batch.offsets[i] + 1; row < batch.offsets[i + 1]; ++row) {
      target[row] = ids[row - 1];
    }
  }
  return shifted;
}

void EncoderDecoder::declare_segments() {
  segments_.push_back({"encoder.embeddings", encoder_.word_site,
                       [this](State& state, const Batch& batch, QuantContext& context) {
                         state.rows = embed(encoder_, batch.token_ids, batch.position_ids, context);
                       }});
  for (size_t i = 0; i < encoder_.layers.size(); ++i) {
    segments_.push_back({fmt::format("encoder.{}", i), encoder_.first_sites[i],
                         [this, i](State& state, const Batch& batch, QuantContext& context) {
                           const PostNormLayer& layer = encoder_.layers[i];
                           state.rows =
                               layer.forward(state.rows, self_attention_spans(batch), context);
                         }});
  }
  segments_.push_back({"decoder.embeddings", decoder_.word_site,
                       [this](State& state, const Batch& batch, QuantContext& context) {
                         state.encoder_rows = state.rows;
                         state.rows = embed(decoder_, decoder_ids(batch),
                                            batch.target_position_ids(), context);
                       }});
  for (size_t i = 0; i < decoder_.layers.size(); ++i) {
    segments_.push_back({fmt::format("decoder.{}", i), decoder_.first_sites[i],
                         [this, i](State& state, const Batch& batch, QuantContext& context) {
                           const PostNormLayer& layer = decoder_.layers[i];
                           state.rows = layer.forward(state.rows, causal_attention_spans(batch),
                                                      state.encoder_rows,
                                                      cross_attention_spans(batch), context);
                         }});
  }
  segments_.push_back(
      {"head", head_site_, [this](State& state, const Batch& batch, QuantContext& context) {
         state.outputs = head_->run(state.rows, batch, context);
       }});
}

void EncoderDecoder::add_group(Norm& norm, std::initializer_list<const Linear*> linears,
                               Shortcut* shortcut) {
  NormGroup group = norm.group(sites()[norm.output_site].name);
  for (const Linear* linear : linears) {
    group.consumers.push_back({linear->weight, linear->weight_site});
  }
  if (shortcut != nullptr) group.shortcuts.push_back(shortcut);
  group.left_alone = shortcut == nullptr;
  add_norm_group(std::move(group));
}

// All norms of a stack but the last.
Norm& EncoderDecoder::declare_groups(PostNormStack& stack) {
  Norm* previous = &stack.embedding_norm;
  for (PostNormLayer& layer : stack.layers) {
    AttentionBlock& self = layer.attention;
    add_group(*previous, {&self.query, &self.key, &self.value}, &self.shortcut);
    previous = &self.norm;
    if (layer.cross_attention) {
      add_group(*previous, {&layer.cross_attention->query}, &layer.cross_attention->shortcut);
      previous = &layer.cross_attention->norm;
    }
    add_group(*previous, {&layer.ffn.intermediate}, &layer.ffn.shortcut);
    previous = &layer.ffn.norm;
  }
  return *previous;
}

void EncoderDecoder::declare_norm_groups() {
  Norm& encoder_last = declare_groups(encoder_);
  NormGroup group = encoder_last.group(sites()[encoder_last.output_site].name);
  group.left_alone = true;
  for (const PostNormLayer& layer : decoder_.layers) {
    const AttentionBlock& cross = *layer.cross_attention;
    group.consumers.push_back({cross.key.weight, cross.key.weight_site});
    group.consumers.push_back({cross.value.weight, cross.value.weight_site});
  }
  add_norm_group(std::move(group));
  Norm& decoder_last = declare_groups(decoder_);
  // A tied table has other readers, which nothing may be multiplied into.
  const Linear& reader = head_->first_linear();
  if (!reader.weight.is_same(decoder_.words)) add_group(decoder_last, {&reader}, nullptr);
}

std::unique_ptr<Decoding> EncoderDecoder::start_decoding(const Batch& batch,
                                                         QuantContext& context) const {
  if (!writes_text()) return Model::start_decoding(batch, context);
  Batch source = batch;
  source.decoder_token_ids = at::Tensor();
  check(source);
  State state;
  for (const Segment& segment : segments_) {
    if (segment.first_site >= decoder_.word_site) break;
    segment.run(state, source, context);
  }
  return std::make_unique<CachedDecoding>(decoder_, *head_, std::move(state.rows), source, context);
}

}  // namespace quell
