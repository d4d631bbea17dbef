// The text clean-up of BERT (Devlin et al. 2019), and its split into words.
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

// Words end at white space; every punctuation character is a word of its own.
class BertPreTokenizer final : public PreTokenizer {
 public:
  void split(std::u32string_view text, std::vector<Span>& words) const override;
};

}  // namespace quell
