#include "models/blocks/layer.h"

#include <fmt/format.h>
#include <algorithm>

#include "framework/base/error.h"

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

FeedForwardModules in_layer(const FeedForwardModules& modules, int64_t index) {
  return {in_layer(modules.up, index), in_layer(modules.down, index),
          in_layer(modules.gate, index)};
}

BottleneckNames in_layer(const BottleneckNames& names, int64_t index) {
  return {in_layer(names.input, index),          in_layer(names.input_norm, index),
          in_layer(names.attention, index),      in_layer(names.attention_norm, index),
          in_layer(names.output, index),         in_layer(names.output_norm, index),
          in_layer(names.output_shortcut, index)};
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
  const BottleneckNames bottleneck = in_layer(names.bottleneck, index);
  if (shape.bottleneck) {
    bottleneck_ = std::make_unique<Bottleneck>();
    bottleneck_->declare_front(builder, *shape.bottleneck, bottleneck);
  }
  declare(own_, builder, shape, "attention", in_layer(names.attention, index),
          in_layer(names.attention_norm, index), in_layer(names.attention_shortcut, index),
          builder.scope().rows);
  if (shape.reads_memory) {
    declare(cross_, builder, shape, "cross_attention", in_layer(names.cross_attention, index),
            in_layer(names.cross_attention_norm, index),
            in_layer(names.cross_attention_shortcut, index), RowsOf::kTokens);
  }
  declare_ffns(builder, shape, names, index);
  if (bottleneck_) {
    bottleneck_->declare_back(builder, *shape.bottleneck, bottleneck);
  } else {
    held_.declare(builder, fmt::format("{}.{}", builder.scope().stack, index),
                  shape.attention.hidden);
  }
}

void Layer::declare_ffns(ModelBuilder& builder, const LayerShape& shape, const LayerNames& names,
                         int64_t index) {
  std::vector<FeedForwardNames> ffns = names.earlier_ffns;
  ffns.push_back({names.ffn, names.ffn_norm, names.ffn_shortcut});
  QUELL_ASSERT(
      shape.ffn_residuals.empty() ? ffns.size() == 1 : shape.ffn_residuals.size() == ffns.size(),
      "a residual shape for each feed-forward block");
  for (size_t i = 0; i < ffns.size(); ++i) {
    const ResidualShape& residual =
        shape.ffn_residuals.empty() ? shape.residual : shape.ffn_residuals[i];
    const std::string name = i + 1 == ffns.size() ? "ffn" : fmt::format("ffn{}", i);
    const std::string norm = in_layer(ffns[i].norm, index);
    FeedForwardBlock& block = ffns_.emplace_back();
    block.residual.declare_front(builder, residual, name, norm, shape.ffn.hidden);
    block.ffn =
        std::make_unique<FeedForward>(builder, name, in_layer(ffns[i].ffn, index), shape.ffn);
    block.residual.declare_back(builder, residual, name, norm, in_layer(ffns[i].shortcut, index),
                                shape.ffn.hidden);
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

Rows Layer::context(const AttentionBlock& block, const Pass& pass, const Rows& rows,
                    const State& state, const ModelInput& input, const at::Tensor& kept) const {
  if (&block == &cross_) {
    return block.attention->context(pass, rows, &state.memory, input.cross_attention, {},
                                    state.cache, kept);
  }
  return block.attention->context(pass, rows, nullptr,
                                  causal_ ? input.target_attention : input.self_attention,
                                  input.rotary, state.cache, kept);
}

Rows Layer::attend(const AttentionBlock& block, const Pass& pass, const Rows& rows,
                   const State& state, const ModelInput& input, const at::Tensor& kept) const {
  return block.attention->output.forward(pass, context(block, pass, rows, state, input, kept));
}

Rows Layer::feed_forward(const Pass& pass, Rows rows) const {
  for (const FeedForwardBlock& block : ffns_) {
    const Rows front = block.residual.front(pass, rows);
    rows = block.residual.back(pass, rows, block.ffn->forward(pass, front));
  }
  return rows;
}

Rows Layer::narrow_context(const Pass& pass, const Rows& query_rows, const Rows& value_rows,
                           const ModelInput& input, const at::Tensor& kept) const {
  return own_.attention->context(pass, query_rows, nullptr, input.self_attention, {}, nullptr, kept,
                                 &value_rows);
}

Rows Layer::attend_narrow(const Pass& pass, const Rows& query_rows, const Rows& value_rows,
                          const ModelInput& input, const at::Tensor& kept) const {
  return own_.attention->output.forward(pass,
                                        narrow_context(pass, query_rows, value_rows, input, kept));
}

Rows Layer::run_narrow(const Pass& pass, const Rows& wide, const ModelInput& input,
                       const at::Tensor& kept) const {
  const Rows narrow = bottleneck_->narrow_rows(pass, wide);
  Rows rows = attend_narrow(pass, bottleneck_->query_rows(pass, wide, narrow),
                            bottleneck_->value_rows(wide, narrow), input, kept);
  rows = own_.residual.back(pass, chosen_rows(narrow, kept), std::move(rows));
  return bottleneck_->output.forward(pass, feed_forward(pass, std::move(rows)));
}

Rows Layer::forward(const Pass& pass, const State& state, const ModelInput& input,
                    const at::Tensor& kept) const {
  return held_.apply(compute(pass, state, input, kept));
}

Rows Layer::compute(const Pass& pass, const State& state, const ModelInput& input,
                    const at::Tensor& kept) const {
  Rows rows = state.rows;
  if (bottleneck_) {
    return bottleneck_->residual.back(pass, chosen_rows(rows, kept),
                                      run_narrow(pass, rows, input, kept));
  }
  for (const AttentionBlock* block : {&own_, &cross_}) {
    if (block->attention == nullptr) continue;
    const Rows front = block->residual.front(pass, rows);
    Rows branch = attend(*block, pass, front, state, input, kept);
    if (parallel_) {
      const FeedForwardBlock& ffn = ffns_.front();
      branch = {branch.values.add(ffn.ffn->forward(pass, ffn.residual.front(pass, rows)).values)};
    }
    rows = block->residual.back(pass, chosen_rows(rows, kept), std::move(branch));
  }
  return parallel_ ? rows : feed_forward(pass, std::move(rows));
}

GraphWriter::Value Layer::write(GraphWriter& writer, GraphWriter::Value rows,
                                const GraphWriter::Value& mask) const {
  using Value = GraphWriter::Value;
  if (bottleneck_ || parallel_ || causal_ || cross_.attention != nullptr) {
    refuse_graph("a layer with a bottleneck, parallel blocks or a decoder's attention");
  }
  const Value front = own_.residual.write_front(writer, rows);
  rows = own_.residual.write_back(writer, rows, own_.attention->write(writer, front, mask));
  for (const FeedForwardBlock& block : ffns_) {
    const Value block_front = block.residual.write_front(writer, rows);
    rows = block.residual.write_back(writer, rows, block.ffn->write(writer, block_front));
  }
  return held_.write(writer, rows);
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
  if (bottleneck_) {
    behind.insert(behind.end(), {bottleneck_->output.site, bottleneck_->residual.sum_site,
                                 bottleneck_->residual.norm.output_site});
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
    group.combined = [this, &block](const Rows& rows, const State& state, const ModelInput& input,
                                    const Pass& pass) {
      return context(block, pass, rows, state, input, {});
    };
    add(std::move(group));
  }
  add_value_group(attention, add);
  if (post) last = &block.residual.norm;
}

void Layer::add_value_group(Attention& attention, const AddGroup& add) {
  if (attention.shares_values()) return;
  ScaleGroup group{.site = attention.context_site()};
  group.producers = {&attention.value.linear};
  group.readers = {&attention.output.linear};
  group.local = output_of(attention.output);
  add(std::move(group));
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
    if (ffn.gated()) {
      group.combined = [&ffn](const Rows& rows, const State&, const ModelInput&, const Pass& pass) {
        return ffn.hidden(pass, rows);
      };
    }
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

// The norm of the narrow rows has no group where only a shortcut reads them: there is no linear
// whose input its outliers would be.
void Layer::add_bottleneck_groups(Norm*& last, const AddGroup& add) {
  Bottleneck& bottleneck = *bottleneck_;
  Attention& attention = *own_.attention;
  const std::vector<Linear*> queries_keys = {&attention.query.linear, &attention.key.linear};
  ScaleGroup outside = norm_group(*last);
  outside.readers = {&bottleneck.input.linear};
  outside.shortcuts = {&bottleneck.residual.shortcut};
  outside.local = [this](const Rows& rows, const State&, const ModelInput& input,
                         const Pass& pass) { return run_narrow(pass, rows, input, {}); };
  if (bottleneck.reads == BottleneckAttention::kOwnRows) {
    outside.readers.push_back(&bottleneck.attention.linear);
  } else if (bottleneck.reads == BottleneckAttention::kWideRows) {
    outside.readers.insert(outside.readers.end(), queries_keys.begin(), queries_keys.end());
  }
  if (bottleneck.reads != BottleneckAttention::kNarrowRows) {
    outside.readers.push_back(&attention.value.linear);
  }
  add(std::move(outside));
  if (bottleneck.reads == BottleneckAttention::kNarrowRows) {
    ScaleGroup inside = norm_group(bottleneck.input_norm);
    inside.readers = queries_keys;
    inside.readers.push_back(&attention.value.linear);
    inside.shortcuts = {&own_.residual.shortcut};
    inside.local = [this](const Rows& rows, const State&, const ModelInput& input,
                          const Pass& pass) { return attend_narrow(pass, rows, rows, input, {}); };
    inside.combined = [this](const Rows& rows, const State&, const ModelInput& input,
                             const Pass& pass) {
      return narrow_context(pass, rows, rows, input, {});
    };
    add(std::move(inside));
  } else if (bottleneck.reads == BottleneckAttention::kOwnRows) {
    ScaleGroup inside = norm_group(bottleneck.attention_norm);
    inside.readers = queries_keys;
    inside.local = [this](const Rows& rows, const State& state, const ModelInput& input,
                          const Pass& pass) {
      return attend_narrow(pass, rows, state.rows, input, {});
    };
    inside.combined = [this](const Rows& rows, const State& state, const ModelInput& input,
                             const Pass& pass) {
      return narrow_context(pass, rows, state.rows, input, {});
    };
    add(std::move(inside));
  }
  add_value_group(attention, add);
  last = &own_.residual.norm;
  for (FeedForwardBlock& block : ffns_) add_ffn_groups(block, last, add);
  ScaleGroup back = norm_group(*last);
  back.readers = {&bottleneck.output.linear};
  back.local = output_of(bottleneck.output);
  add(std::move(back));
  last = &bottleneck.residual.norm;
}

void Layer::add_groups(Norm*& last, const AddGroup& add) {
  if (bottleneck_) return add_bottleneck_groups(last, add);
  add_attention_groups(own_, last, add);
  if (cross_.attention != nullptr) add_attention_groups(cross_, last, add);
  for (FeedForwardBlock& block : ffns_) add_ffn_groups(block, last, add);
}

void Layer::add_memory_readers(ScaleGroup& group) {
  Attention& attention = *cross_.attention;
  group.readers.insert(group.readers.end(), {&attention.key.linear, &attention.value.linear});
}

}  // namespace quell
