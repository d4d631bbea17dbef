// The normalizers of the Hugging Face library, with its alignment: every character of the result
// knows the character of the text that it stands for.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "framework/text/pattern.h"
#include "framework/text/stages.h"
#include "framework/text/unicode.h"

namespace quell {

// One after another.
class NormalizerSequence final : public Normalizer {
 public:
  explicit NormalizerSequence(std::vector<std::unique_ptr<Normalizer>> steps)
      : steps_(std::move(steps)) {}
  void normalize(AlignedText& text) const override;

 private:
  std::vector<std::unique_ptr<Normalizer>> steps_;
};

// NFD, NFC, NFKD and NFKC of Unicode.
class UnicodeNormalizer final : public Normalizer {
 public:
  UnicodeNormalizer(unicode::Decomposition decomposition, bool compose)
      : decomposition_(decomposition), compose_(compose) {}
  void normalize(AlignedText& text) const override;

 private:
  unicode::Decomposition decomposition_;
  bool compose_;
};

class LowercaseNormalizer final : public Normalizer {
 public:
  void normalize(AlignedText& text) const override;
};

// Drops every mark, of what decomposes only where it is decomposed.
class StripAccentsNormalizer final : public Normalizer {
 public:
  void normalize(AlignedText& text) const override;
};

// Drops white space at the ends.
class StripNormalizer final : public Normalizer {
 public:
  StripNormalizer(bool left, bool right) : left_(left), right_(right) {}
  void normalize(AlignedText& text) const override;

 private:
  bool left_, right_;
};

// Puts `content` in the place of every match.
class ReplaceNormalizer final : public Normalizer {
 public:
  ReplaceNormalizer(std::unique_ptr<Pattern> pattern, std::u32string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void normalize(AlignedText& text) const override;

 private:
  std::unique_ptr<Pattern> pattern_;
  std::u32string content_;
};

// Puts `content` before a text that is not empty.
class PrependNormalizer final : public Normalizer {
 public:
  explicit PrependNormalizer(std::u32string content) : content_(std::move(content)) {}
  void normalize(AlignedText& text) const override;

 private:
  std::u32string content_;
};

// Canonical (or compatibility) decomposition, and the lower case of every character.
void decompose(AlignedText& text, unicode::Decomposition decomposition);
void lowercase(AlignedText& text);

// Keeps the characters for which `keep` holds.
template <class Predicate>
void keep_if(AlignedText& text, Predicate keep) {
  size_t kept = 0;
  for (size_t i = 0; i < text.text.size(); ++i) {
    if (!keep(text.text[i])) continue;
    text.text[kept] = text.text[i];
    text.source[kept] = text.source[i];
    ++kept;
  }
  text.text.resize(kept);
  text.source.resize(kept);
}

}  // namespace quell
