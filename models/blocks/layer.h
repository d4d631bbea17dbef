// The layer of all transformers, described by data: norms in front of its blocks or behind them, of
// any kind, attention of any shape, to an encoder's rows, too, one or several feed-forward blocks,
// one after another or beside the attention, and a bottleneck around all of them.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/blocks/attention.h"
#include "models/blocks/bottleneck.h"
#include "models/blocks/feed_forward.h"
#include "models/blocks/held_values.h"
#include "models/blocks/residual.h"

namespace quell {

struct LayerShape {
  ResidualShape residual;
  AttentionOptions attention;
  FeedForwardOptions ffn;
  // Of each feed-forward block, where there are several or theirs differ from the attention's.
  std::vector<ResidualShape> ffn_residuals = {};
  // Around the blocks, which are as wide as its narrow rows; encoders with norms behind sums only.
  std::optional<BottleneckShape> bottleneck = {};
  bool causal = false;        // tokens see those up to themselves
  bool reads_memory = false;  // there is a second attention, to the encoder's rows
  bool parallel = false;      // attention and feed-forward block read the same rows
};

// Hugging Face names of the modules, with {} for the number of the layer. A shortcut's name is that
// of its scale after gamma migration.
struct FeedForwardNames {
  FeedForwardModules ffn;
  std::string norm, shortcut;
};

struct LayerNames {
  AttentionModules attention;
  std::string attention_norm, attention_shortcut;
  AttentionModules cross_attention = {};
  std::string cross_attention_norm = {}, cross_attention_shortcut = {};
  FeedForwardModules ffn;
  std::string ffn_norm, ffn_shortcut;
  std::vector<FeedForwardNames> earlier_ffns = {};  // in front of it
  BottleneckNames bottleneck = {};
};

// A norm whose readers are still to be named.
ScaleGroup norm_group(Norm& norm);
using AddGroup = std::function<void(ScaleGroup)>;

class Layer {
 public:
  // `index` is the number of the layer, which builder's scope knows, too.
  Layer(ModelBuilder& builder, const LayerShape& shape, const LayerNames& names, int64_t index);
  Layer(const Layer&) = delete;

  // With `kept` [n] only these rows are computed behind the attention, where may_leave_out_rows().
  Rows forward(const Pass& pass, const State& state, const ModelInput& input,
               const at::Tensor& kept) const;
  // `mask` as in Attention::write().
  GraphWriter::Value write(GraphWriter& writer, GraphWriter::Value rows,
                           const GraphWriter::Value& mask) const;
  // Whether nobody asks for all rows behind the attention.
  bool may_leave_out_rows(const Pass& pass) const;

  // Groups of what is read in this layer, in the order of execution. `last` is the norm in front of
  // the layer where norms stand behind their blocks, and becomes this layer's last one; null where
  // there is none.
  void add_groups(Norm*& last, const AddGroup& add);
  // What reads the encoder's rows: keys and values.
  void add_memory_readers(ScaleGroup& group);

 private:
  struct AttentionBlock {
    Residual residual;
    std::unique_ptr<Attention> attention;
  };
  struct FeedForwardBlock {
    Residual residual;
    std::unique_ptr<FeedForward> ffn;
  };

  void declare(AttentionBlock& block, ModelBuilder& builder, const LayerShape& shape,
               const std::string& name, const AttentionModules& modules, const std::string& norm,
               const std::string& shortcut, RowsOf keys);
  void declare_ffns(ModelBuilder& builder, const LayerShape& shape, const LayerNames& names,
                    int64_t index);
  Rows compute(const Pass& pass, const State& state, const ModelInput& input,
               const at::Tensor& kept) const;
  // What the block's attention gives of `rows`, in front of its output's linear, and behind it.
  Rows context(const AttentionBlock& block, const Pass& pass, const Rows& rows, const State& state,
               const ModelInput& input, const at::Tensor& kept) const;
  Rows attend(const AttentionBlock& block, const Pass& pass, const Rows& rows, const State& state,
              const ModelInput& input, const at::Tensor& kept) const;
  Rows feed_forward(const Pass& pass, Rows rows) const;
  // Attention inside a bottleneck, in front of its output's linear and behind it, and all that is
  // between the bottleneck's ends.
  Rows narrow_context(const Pass& pass, const Rows& query_rows, const Rows& value_rows,
                      const ModelInput& input, const at::Tensor& kept) const;
  Rows attend_narrow(const Pass& pass, const Rows& query_rows, const Rows& value_rows,
                     const ModelInput& input, const at::Tensor& kept) const;
  Rows run_narrow(const Pass& pass, const Rows& wide, const ModelInput& input,
                  const at::Tensor& kept) const;
  void add_attention_groups(AttentionBlock& block, Norm*& last, const AddGroup& add);
  void add_value_group(Attention& attention, const AddGroup& add);
  void add_ffn_groups(FeedForwardBlock& block, Norm*& last, const AddGroup& add);
  void add_bottleneck_groups(Norm*& last, const AddGroup& add);

  bool causal_, parallel_;
  std::unique_ptr<Bottleneck> bottleneck_;  // null: there is none
  AttentionBlock own_;
  AttentionBlock cross_;  // without attention where nothing is read from an encoder
  std::deque<FeedForwardBlock> ffns_;
  HeldValues held_;  // of what the layer gives
};

}  // namespace quell
