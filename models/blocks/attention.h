// An attention block: to the own sequence, or to the rows of an encoder.
#pragma once

#include <string>

#include "models/blocks/model_builder.h"
#include "models/blocks/projection.h"

namespace quell {

struct AttentionOptions {
  int64_t hidden = 0;
  int64_t head_size = 0;
  int64_t value_inputs = 0;      // features of the rows of which values are made; 0: hidden
  AttentionShape shape;          // heads, and how scores become probabilities
  double query_factor = 1;       // multiplies queries in front of their site
  bool has_scores_site = false;  // query times key is a site
  bool has_bias = true;          // query, key, value
  bool has_output_bias = true;
};

// Hugging Face modules of one layer.
struct AttentionModules {
  StoredLinear query, key, value, output;
};

// Query, key and value in one module of the file, one after another, `width` rows each, or, with
// `groups`, so for each head. Their own names are those of the module with ".query" and so on.
AttentionModules fused_attention(const std::string& module, StoredLinear output, int64_t width,
                                 int64_t groups = 1, bool transposed = false);

class Attention {
 public:
  // `name` is "attention" or "cross_attention"; `keys` what the rows that are read are.
  Attention(ModelBuilder& builder, const std::string& name, const AttentionModules& modules,
            const AttentionOptions& options, RowsOf keys);

  // Of each row what it attends to in `memory`, an encoder's rows, or, where that is null, in the
  // rows themselves. Only for the rows with the indices `kept`, one of each sequence, where there
  // are such. A cache has keys and values that were read before, and takes the new ones. `values`
  // are the rows of which values are made; null: those of which keys are.
  Rows forward(const Pass& pass, const Rows& rows, const Rows* memory, const SharedSpans& spans,
               const RotaryAngles& angles = {}, KeyValueCache* cache = nullptr,
               const at::Tensor& kept = {}, const Rows* values = nullptr) const;
  // The same in front of the output's linear.
  Rows context(const Pass& pass, const Rows& rows, const Rows* memory, const SharedSpans& spans,
               const RotaryAngles& angles = {}, KeyValueCache* cache = nullptr,
               const at::Tensor& kept = {}, const Rows* values = nullptr) const;
  // Of each token to all tokens of its sequence. `mask` is added to scores [sequences, heads,
  // tokens, tokens].
  GraphWriter::Value write(GraphWriter& writer, const GraphWriter::Value& rows,
                           const GraphWriter::Value& mask) const;
  // Whether several heads read each head of the values.
  bool shares_values() const { return shape_.heads != shape_.key_heads; }
  SiteId context_site() const { return context_site_; }

  Projection query, key, value, output;

 private:
  Rows read(const Pass& pass, const Projection& projection, const Rows& rows,
            const RotaryAngles& angles, bool codes_suffice) const;

  int64_t layer_, head_size_;
  AttentionShape shape_;
  SiteId scores_site_ = kNoSite, probs_site_ = kNoSite, context_site_ = kNoSite;
};

}  // namespace quell
