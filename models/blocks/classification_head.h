// The head that RoBERTa, ELECTRA and BART classify sequences with: two linears with a non-linearity
// between them.
#pragma once

#include <string>

#include "models/blocks/head.h"
#include "models/blocks/projection.h"

namespace quell {

struct ClassificationHeadOptions {
  std::string dense = "classifier.dense";
  std::string output = "classifier.out_proj";
  Nonlinearity nonlinearity = Nonlinearity::kTanh;
  bool drops_input = true;  // whether its input sees dropout, too
  // It reads the first token of each sequence, or, where one is given, the last token `end_id`; a
  // sequence without one is a DataError.
  int64_t end_id = -1;
};

// Outlier Suppression quantizes behind tanh, Qualcomm (RoBERTa only) before it.
class ClassificationHead final : public Head {
 public:
  explicit ClassificationHead(ClassificationHeadOptions options) : options_(std::move(options)) {}

  void declare(const HeadSizes& sizes, ModelBuilder& builder) override;
  Linear& first_linear() override { return dense_.linear; }
  bool reads_first_tokens() const override { return options_.end_id < 0; }
  Outputs run(const Rows& rows, const ModelInput& input, const Pass& pass) const override;
  Outputs zero_outputs(const Batch& batch) const override;
  void write(GraphWriter& writer, const GraphWriter::Value& rows) const override;

 private:
  Rows read(const Rows& rows, const ModelInput& input) const;

  ClassificationHeadOptions options_;
  int64_t labels_ = 0;
  SiteId input_site_ = kNoSite, hidden_site_ = kNoSite;
  Projection dense_, output_;
};

}  // namespace quell
