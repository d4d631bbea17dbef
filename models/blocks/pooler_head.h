// The head that BERT and MobileBERT classify sequences with: a linear with tanh over the first
// token, and a classifier.
#pragma once

#include <optional>
#include <string>

#include "models/blocks/head.h"
#include "models/blocks/projection.h"

namespace quell {

class PoolerHead final : public Head {
 public:
  // `pooler` is the Hugging Face module of the linear with tanh; absent: there is none.
  explicit PoolerHead(std::optional<std::string> pooler) : pooler_module_(std::move(pooler)) {}

  void declare(const HeadSizes& sizes, ModelBuilder& builder) override;
  Linear& first_linear() override;
  bool reads_first_tokens() const override { return true; }
  Outputs run(const Rows& rows, const ModelInput& input, const Pass& pass) const override;
  Outputs zero_outputs(const Batch& batch) const override;
  void write(GraphWriter& writer, const GraphWriter::Value& rows) const override;

 private:
  std::optional<std::string> pooler_module_;
  int64_t labels_ = 0;
  SiteId input_site_ = kNoSite;
  Projection pooler_, classifier_;
};

}  // namespace quell
