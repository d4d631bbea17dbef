#include "framework/text/sentences.h"

#include <unicode/brkiter.h>
#include <unicode/locid.h>
#include <unicode/unistr.h>

#include "framework/base/error.h"

namespace quell {

struct SentenceSplitter::Rules {
  std::unique_ptr<icu::BreakIterator> breaks;
};

SentenceSplitter::SentenceSplitter() : rules_(std::make_unique<Rules>()) {
  UErrorCode status = U_ZERO_ERROR;
  rules_->breaks.reset(
      icu::BreakIterator::createSentenceInstance(icu::Locale("en@ss=standard"), status));
  if (U_FAILURE(status)) {
    throw Error(std::string("ICU has no rules for sentences: ") + u_errorName(status));
  }
}

SentenceSplitter::~SentenceSplitter() = default;

std::string SentenceSplitter::lines(std::string_view text) {
  icu::UnicodeString whole = icu::UnicodeString::fromUTF8(
      icu::StringPiece(text.data(), static_cast<int32_t>(text.size())));
  rules_->breaks->setText(whole);
  std::string result;
  int32_t start = 0;
  for (int32_t end = rules_->breaks->next(); end != icu::BreakIterator::DONE;
       end = rules_->breaks->next()) {
    icu::UnicodeString sentence(whole, start, end - start);
    start = end;
    sentence.trim();
    if (sentence.isEmpty()) continue;
    if (!result.empty()) result += '\n';
    sentence.toUTF8String(result);
  }
  return result;
}

}  // namespace quell
