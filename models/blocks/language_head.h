// Scores of the next token, or the log-likelihoods of given ones.
#pragma once

#include "models/blocks/config_fields.h"
#include "models/blocks/head.h"
#include "models/blocks/projection.h"

namespace quell {

struct LanguageHeadOptions {
  std::string module = "lm_head";
  std::string tied_to = {};     // table of tokens that it shares; empty: it has its own
  std::string bias = {};        // name of an optional tensor [1, vocabulary]
  std::string projection = {};  // module of a linear in front of it, to `features`
  int64_t features = 0;         // 0: hidden
};

// `table` where tie_word_embeddings of config.json says that the head shares it, or `usual` where
// it says nothing; else "". Throws DataError.
std::string tied_table(const ConfigFields& config, const std::string& table, bool usual);

// "logits" [target tokens, vocabulary] or, where a batch has `scored_ids`, "log_likelihood" [target
// tokens] and, where it has `scores_best`, "best_log_likelihood", computed for some rows after
// another: unless something looks at all logits, they are never there at once. A shared table is
// quantized on its own.
class LanguageHead final : public Head {
 public:
  explicit LanguageHead(LanguageHeadOptions options) : options_(std::move(options)) {}

  void declare(const HeadSizes& sizes, ModelBuilder& builder) override;
  Linear& first_linear() override {
    return options_.projection.empty() ? table_.linear : projection_.linear;
  }
  RowsOf output_rows() const override { return RowsOf::kTargets; }
  bool writes_text() const override { return true; }
  Outputs run(const Rows& rows, const ModelInput& input, const Pass& pass) const override;
  Outputs zero_outputs(const Batch& batch) const override;

 private:
  Outputs log_likelihood(const Rows& rows, const ModelInput& input, const Pass& pass) const;

  LanguageHeadOptions options_;
  int64_t vocabulary_ = 0;
  SiteId projected_site_ = kNoSite;
  Projection projection_, table_;
};

}  // namespace quell
