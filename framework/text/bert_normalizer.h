// The text clean-up of BERT (Devlin et al. 2019).
#pragma once

#include <optional>

#include "framework/text/stages.h"

namespace quell {

struct BertNormalizerOptions {
  bool clean_text = true;             // drop control characters, white space becomes a blank
  bool space_chinese = true;          // every CJK ideograph is a word
  std::optional<bool> strip_accents;  // decompose and drop the marks; absent: as `lowercase`
  bool lowercase = true;
};

class BertNormalizer final : public Normalizer {
 public:
  explicit BertNormalizer(const BertNormalizerOptions& options) : options_(options) {}
  void normalize(AlignedText& text) const override;

 private:
  BertNormalizerOptions options_;
};

}  // namespace quell
