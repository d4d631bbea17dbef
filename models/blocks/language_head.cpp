#include "models/blocks/language_head.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/zeros.h>
#include <algorithm>

#include "models/blocks/residual.h"

namespace quell {
namespace {

constexpr int64_t kLogitsAtOnce = int64_t{1} << 24;  // 64 MiB

}  // namespace

std::string tied_table(const ConfigFields& config, const std::string& table, bool usual) {
  return config.flag("tie_word_embeddings", usual) ? table : "";
}

void LanguageHead::declare(const HeadSizes& sizes, ModelBuilder& builder) {
  vocabulary_ = sizes.vocabulary;
  const int64_t features = options_.projection.empty() ? sizes.hidden : options_.features;
  if (!options_.projection.empty()) {
    projected_site_ = builder.activation("project_out.input", "head_input");
    builder.linear(projection_.linear, "project_out", "head", options_.projection, features,
                   sizes.hidden, /*has_bias=*/false);
    projection_.site = builder.activation("project_out", "head_hidden");
  }
  builder.linear(table_.linear, "lm_head", "head", options_.module, vocabulary_, features,
                 /*has_bias=*/false, options_.tied_to);
  if (!options_.bias.empty()) {
    builder.tensor(table_.linear.bias, {options_.bias, {1, vocabulary_}, /*optional=*/true});
  }
  table_.site = builder.activation("lm_head.logits", "logits");
}

Outputs LanguageHead::run(const Rows& rows, const ModelInput& input, const Pass& pass) const {
  Rows last = rows;
  if (!options_.projection.empty()) {
    // A copy: the rows are those of a state, which stays as it is.
    last = projection_.forward(pass, pass.activation(projected_site_, {rows.values.clone()}));
  }
  const at::Tensor& ids = input.batch.scored_ids;
  if (ids.defined()) return {{"log_likelihood", log_likelihood(last, ids, pass)}};
  return {{"logits", table_.forward(pass, last).values}};
}

at::Tensor LanguageHead::log_likelihood(const Rows& rows, const at::Tensor& ids,
                                        const Pass& pass) const {
  const bool whole = pass.needs_rows(table_.site);
  const at::Tensor asked = ids.ge(0);
  const at::Tensor chosen = whole ? at::arange(ids.numel(), at::kLong) : asked.nonzero().squeeze(1);
  const int64_t count = chosen.numel();
  const int64_t step = whole ? count : std::max<int64_t>(kLogitsAtOnce / vocabulary_, 1);
  at::Tensor result = at::zeros({ids.numel()});
  std::vector<at::Tensor> parts;
  for (int64_t begin = 0; begin < count; begin += step) {
    const at::Tensor indices = chosen.slice(0, begin, begin + step);
    const at::Tensor logits = table_.forward(pass, chosen_rows(rows, indices)).values;
    const at::Tensor columns = ids.index_select(0, indices).clamp_min_(0).unsqueeze(1);
    parts.push_back(logits.gather(1, columns).squeeze(1).sub(at::logsumexp(logits, {1})));
  }
  if (!parts.empty()) result.index_copy_(0, chosen, at::cat(parts));
  return result.mul(asked);
}

Outputs LanguageHead::zero_outputs(const Batch& batch) const {
  if (batch.scored_ids.defined()) return {{"log_likelihood", at::zeros({batch.target_tokens()})}};
  return {{"logits", at::zeros({batch.target_tokens(), vocabulary_})}};
}

}  // namespace quell
