#include "models/blocks/language_head.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <algorithm>

#include "framework/kernels/log_sum.h"
#include "framework/quant/parallel.h"
#include "models/blocks/residual.h"

namespace quell {
namespace {

constexpr int64_t kLogitsAtOnce = int64_t{1} << 24;  // 64 MiB
// Enough to read the table's rows seldom, and few enough for logits to stay in the cache.
constexpr int64_t kRowsAtOnce = 256;

// Of each row the largest logit, and the logarithm of the sum of exponentials less it.
struct Normalizer {
  at::Tensor largest, log_sum;

  explicit Normalizer(const at::Tensor& logits) {
    if (at::GradMode::is_enabled() || !logits.device().is_cpu()) {
      largest = logits.amax(1);
      log_sum = logits.sub(largest.unsqueeze(1)).exp_().sum(1).log_();
      return;
    }
    const at::Tensor dense = logits.contiguous();
    largest = at::empty({dense.size(0)}, dense.options());
    log_sum = at::empty({dense.size(0)}, dense.options());
    kernels::log_sum(dense.const_data_ptr<float>(), dense.size(0), dense.size(1),
                     largest.mutable_data_ptr<float>(), log_sum.mutable_data_ptr<float>(),
                     parallel_for);
  }
};

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
  if (input.batch.scored_ids.defined()) return log_likelihood(last, input, pass);
  return {{"logits", table_.forward(pass, last).values}};
}

Outputs LanguageHead::log_likelihood(const Rows& rows, const ModelInput& input,
                                     const Pass& pass) const {
  const at::Tensor& ids = input.scored_ids;
  const bool whole = pass.needs_rows(table_.site);
  const at::Tensor asked = ids.ge(0);
  const at::Tensor chosen =
      whole ? at::arange(ids.numel(), ids.options()) : asked.nonzero().squeeze(1);
  const int64_t count = chosen.numel();
  const int64_t step =
      whole ? count : std::clamp<int64_t>(kLogitsAtOnce / vocabulary_, 1, kRowsAtOnce);
  at::Tensor likelihood = at::zeros({ids.numel()}, rows.values.options());
  at::Tensor best = at::zeros_like(likelihood);
  for (int64_t begin = 0; begin < count; begin += step) {
    const at::Tensor indices = chosen.slice(0, begin, begin + step);
    const at::Tensor logits = table_.forward(pass, chosen_rows(rows, indices)).values;
    const at::Tensor columns = ids.index_select(0, indices).clamp_min_(0).unsqueeze(1);
    const Normalizer by(logits);
    const at::Tensor found = logits.gather(1, columns).squeeze(1);
    likelihood.index_copy_(0, indices, found.sub(by.largest).sub_(by.log_sum));
    best.index_copy_(0, indices, by.log_sum.neg());
  }
  Outputs outputs{{"log_likelihood", likelihood.mul(asked)}};
  if (input.batch.scores_best) outputs["best_log_likelihood"] = best.mul(asked);
  return outputs;
}

Outputs LanguageHead::zero_outputs(const Batch& batch) const {
  if (!batch.scored_ids.defined()) {
    return {{"logits", at::zeros({batch.target_tokens(), vocabulary_})}};
  }
  Outputs outputs{{"log_likelihood", at::zeros({batch.target_tokens()})}};
  if (batch.scores_best) outputs["best_log_likelihood"] = at::zeros({batch.target_tokens()});
  return outputs;
}

}  // namespace quell
