#include "models/blocks/layer.h"

#include <fmt/format.h>
#include <algorithm>

namespace quell {
namespace {

std::string in_layer(const std::string& name, int64_t index) {
  const size_t place = name.find("{}");
  return place == std::string::npos
             ? name
             : name.substr(0, place) + std::to_string(index) + name.substr(place + 2);
}

StoredLinear in_layer(StoredLinear linear, int64_t index) {
  linear.module = in_layer(linear.module, index);
  linear.part.of = in_layer(linear.part.of, index);
  return linear;
}

AttentionModules in_layer(const AttentionModules& modules, int64_t index) {
  return {in_layer(modules.query, index), in_layer(modules.key, index),
          in_layer(modules.value, index), in_layer(modules.output, index)};
}

LocalOutput output_of(const Projection& projection) {
  return [&projection](const Rows& rows, const State&, const ModelInput&, const Pass& pass) {
    return projection.forward(pass, rows);
  };
}

}  // namespace

ScaleGroup norm_group(Norm& norm) { return {.site = norm.output_site, .norm = &norm}; }

Layer::Layer(ModelBuilder& builder, const LayerShape& shape, const LayerNames& names, int64_t index)
    : causal_(shape.causal), parallel_(shape.parallel) {
  declare(own_, builder, shape, "attention", in_layer(names.attention, index),
          in_layer(names.attention_norm, index), in_layer(names.attention_shortcut, index),
          builder.scope().rows);
  if (shape.reads_memory) {
    declare(cross_, builder, shape, "cross_attention", in_layer(names.cross_attention, index),
            in_layer(names.cross_attention_norm, index),
            in_layer(names.cross_attention_shortcut, index), RowsOf::kTokens);
  }
  const int64_t hidden = shape.ffn.hidden;
  for (int64_t i = 0; i < shape.ffns; ++i) {
    const std::string name = i + 1 == shape.ffns ? "ffn" : fmt::format("ffn{}", i);
    FeedForwardBlock& block = ffns_.emplace_back();
    const std::string norm = in_layer(names.ffn_norm, index);
    block.residual.declare_front(builder, shape.residual, name, norm, hidden);
    block.ffn = std::make_unique<FeedForward>(
        builder, name,
        FeedForwardModules{in_layer(names.ffn.up, index), in_layer(names.ffn.down, index),
                           in_layer(names.ffn.gate, index)},
        shape.ffn);
    block.residual.declare_back(builder, shape.residual, name, norm,
                                in_layer(names.ffn_shortcut, index), hidden);
  }
}

void Layer::declare(AttentionBlock& block, ModelBuilder& builder, const LayerShape& shape,
                    const std::string& name, const AttentionModules& modules,
                    const std::string& norm, const std::string& shortcut, RowsOf keys) {
  const int64_t hidden = shape.attention.hidden;
  block.residual.declare_front(builder, shape.residual, name, norm, hidden);
  block.attention = std::make_unique<Attention>(builder, name, modules, shape.attention, keys);
  block.residual.declare_back(builder, shape.residual, name, norm, shortcut, hidden);
}

Rows Layer::attend(const AttentionBlock& block, const Pass& pass, const Rows& rows,
                   const State& state, const ModelInput& input, const at::Tensor& kept) const {
  if (&block == &cross_) {
    return block.attention->forward(pass, rows, &state.memory, input.cross_attention, {},
                                    state.cache, kept);
  }
  return block.attention->forward(pass, rows, nullptr,
                                  causal_ ? input.target_attention : input.self_attention,
                                  input.rotary, state.cache, kept);
}

Rows Layer::forward(const Pass& pass, const State& state, const ModelInput& input,
                    const at::Tensor& kept) const {
  Rows rows = state.rows;
  for (const AttentionBlock* block : {&own_, &cross_}) {
    if (block->attention == nullptr) continue;
    const Rows front = block->residual.front(pass, rows);
    Rows branch = attend(*block, pass, front, state, input, kept);
    if (parallel_) {
      const FeedForwardBlock& ffn = ffns_.front();
      branch.values =
          branch.values.add(ffn.ffn->forward(pass, ffn.residual.front(pass, rows)).values);
      branch.grid = nullptr;
    }
    rows = block->residual.back(pass, chosen_rows(rows, kept), std::move(branch));
  }
  for (const FeedForwardBlock& block : ffns_) {
    if (parallel_) break;
    const Rows front = block.residual.front(pass, rows);
    rows = block.residual.back(pass, rows, block.ffn->forward(pass, front));
  }
  return rows;
}

bool Layer::may_leave_out_rows(const Pass& pass) const {
  if (cross_.attention != nullptr || parallel_) return false;
  std::vector<SiteId> behind = {own_.attention->output.site, own_.residual.sum_site};
  if (own_.residual.place == NormPlace::kPost) behind.push_back(own_.residual.norm.output_site);
  for (const FeedForwardBlock& block : ffns_) {
    const FeedForward& ffn = *block.ffn;
    behind.insert(behind.end(), {ffn.gate.site, ffn.up.site, ffn.hidden_site(), ffn.down.site,
                                 block.residual.sum_site, block.residual.norm.output_site});
  }
  return std::none_of(behind.begin(), behind.end(), [&](SiteId id) { return pass.needs_rows(id); });
}

void Layer::add_attention_groups(AttentionBlock& block, Norm*& last, const AddGroup& add) {
  Attention& attention = *block.attention;
  const bool post = block.residual.place == NormPlace::kPost;
  if (Norm* norm = post ? last : &block.residual.norm) {
    ScaleGroup group = norm_group(*norm);
    group.readers = {&attention.query.linear};
    if (&block == &own_) {
      group.readers.insert(group.readers.end(), {&attention.key.linear, &attention.value.linear});
    }
    if (post) group.shortcuts = {&block.residual.shortcut};
    group.local = [this, &block](const Rows& rows, const State& state, const ModelInput& input,
                                 const Pass& pass) {
      return attend(block, pass, rows, state, input, {});
    };
    add(std::move(group));
  }
  if (!attention.shares_values()) {
    ScaleGroup group{.site = attention.context_site()};
    group.producers = {&attention.value.linear};
    group.readers = {&attention.output.linear};
    group.local = output_of(attention.output);
    add(std::move(group));
  }
  if (post) last = &block.residual.norm;
}

void Layer::add_ffn_groups(FeedForwardBlock& block, Norm*& last, const AddGroup& add) {
  FeedForward& ffn = *block.ffn;
  const bool post = block.residual.place == NormPlace::kPost;
  if (Norm* norm = post ? last : &block.residual.norm) {
    ScaleGroup group = norm_group(*norm);
    group.readers = {&ffn.up.linear};
    if (ffn.gated()) group.readers.push_back(&ffn.gate.linear);
    if (post) group.shortcuts = {&block.residual.shortcut};
    group.local = [&ffn](const Rows& rows, const State&, const ModelInput&, const Pass& pass) {
      return ffn.forward(pass, rows);
    };
    add(std::move(group));
  }
  if (ffn.passes_factors()) {
    ScaleGroup group{.site = ffn.hidden_site()};
    group.producers = {&ffn.up.linear};
    group.readers = {&ffn.down.linear};
    group.local = output_of(ffn.down);
    add(std::move(group));
  }
  if (post) last = &block.residual.norm;
}

void Layer::add_groups(Norm*& last, const AddGroup& add) {
  add_attention_groups(own_, last, add);
  if (cross_.attention != nullptr) add_attention_groups(cross_, last, add);
  for (FeedForwardBlock& block : ffns_) add_ffn_groups(block, last, add);
}

void Layer::add_memory_readers(ScaleGroup& group) {
  Attention& attention = *cross_.attention;
  group.readers.insert(group.readers.end(), {&attention.key.linear, &attention.value.linear});
}

}  // namespace quell
