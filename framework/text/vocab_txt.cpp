#include <fmt/format.h>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/text/declared_tokens.h"
#include "framework/text/pre_tokenizers.h"
#include "framework/text/tokenizer_files.h"
#include "framework/text/unicode.h"
#include "framework/text/word_piece.h"

namespace quell {
namespace {

const SpecialTokenDefaults kBertTokens = {{"unk_token", "[UNK]"},
                                          {"sep_token", "[SEP]"},
                                          {"pad_token", "[PAD]"},
                                          {"cls_token", "[CLS]"},
                                          {"mask_token", "[MASK]"}};

std::string required_text(const DeclaredTokens& declared, const std::string& role,
                          const Vocabulary& vocabulary, const std::string& source) {
  const std::string text = declared.text(role, kBertTokens).value_or("null");
  if (vocabulary.find(text)) return text;
  throw DataError(fmt::format(
      "{}: no line is \"{}\", the {} of this tokenizer; add it to the vocabulary, or name "
      "another one in tokenizer_config.json",
      source, text, role));
}

// White space at the end of a line does not count.
std::string_view without_trailing_space(std::string_view line) {
  const std::u32string text = unicode::decode_utf8(line);
  size_t end = text.size();
  while (end > 0 && unicode::is_whitespace(text[end - 1])) --end;
  return line.substr(0, unicode::encode_utf8(std::u32string_view(text).substr(0, end)).size());
}

}  // namespace

Vocabulary read_vocab_txt(const std::filesystem::path& file) {
  const std::string content = read_file(file);
  Vocabulary vocabulary;
  int64_t line_number = 0, last_blank = -1;
  for (size_t at = 0; at < content.size();) {
    const size_t newline = std::min(content.find('\n', at), content.size());
    std::string_view line = std::string_view(content).substr(at, newline - at);
    at = newline + 1;
    const auto fail = [&, number = ++line_number](const std::string& problem) {
      throw DataError(fmt::format("{}:{}: {}", file.string(), number, problem));
    };
    if (!unicode::is_valid_utf8(line)) fail("not valid UTF-8; convert the file");
    line = without_trailing_space(line);
    if (line_number - 1 > kLargestTokenId) fail("more lines than a vocabulary can have");
    if (line.empty()) {
      last_blank = line_number - 1;
      continue;
    }
    if (const auto first = vocabulary.find(line)) {
      fail(fmt::format("\"{}\" is already the token of line {}; a token can have one id only", line,
                       *first + 1));
    }
    vocabulary.add(line, static_cast<int32_t>(line_number - 1));
  }
  if (vocabulary.size() == 0) {
    throw DataError(fmt::format("{}: the vocabulary is empty", file.string()));
  }
  // A token that no text has.
  if (last_blank >= 0) vocabulary.add("", static_cast<int32_t>(last_blank));
  return vocabulary;
}

TokenizerStages bert_stages(const TokenizerSettings& settings,
                            const std::optional<JsonView>& tokenizer_json) {
  TokenizerStages stages;
  std::string source = (settings.folder() / "vocab.txt").string();
  if (tokenizer_json) {
    const JsonView model = tokenizer_json->at("model");
    source = model.place();
    stages.vocabulary = read_vocabulary(model.at("vocab"));
  } else {
    stages.vocabulary = read_vocab_txt(source);
  }
  const DeclaredTokens declared(settings, tokenizer_json);
  const std::string unknown = required_text(declared, "unk_token", stages.vocabulary, source);
  stages.model =
      std::make_unique<WordPiece>(stages.vocabulary, WordPieceOptions{.unknown_token = unknown});
  const Vocabulary& vocabulary = stages.vocabulary;
  for (const char* role : {"sep_token", "pad_token", "cls_token"}) {
    if (!declared.is_added(declared.text(role, kBertTokens).value_or(""))) {
      required_text(declared, role, vocabulary, source);
    }
  }
  declared.add_to(stages, kBertTokens);
  BertNormalizerOptions normalization;
  settings.apply_to(normalization);
  stages.normalizer = std::make_unique<BertNormalizer>(normalization);
  stages.pre_tokenizer = make_bert_pre_tokenizer();
  stages.decoder = std::make_unique<WordPieceDecoder>("##", true);
  const auto id = [&](const char* role) {
    return *vocabulary.find(required_text(declared, role, vocabulary, source));
  };
  stages.special_tokens = bert_template(id("cls_token"), id("sep_token"));
  stages.pad_id = id("pad_token");
  return stages;
}

}  // namespace quell
