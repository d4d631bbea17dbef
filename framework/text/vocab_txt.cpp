#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/text/tokenizer_files.h"
#include "framework/text/unicode.h"
#include "framework/text/word_piece.h"

namespace quell {
namespace {

// Tokenizer classes that are BERT's under another name.
constexpr std::array<std::string_view, 8> kBertClasses = {
    "BertTokenizer",     "DistilBertTokenizer", "ElectraTokenizer",  "MobileBertTokenizer",
    "ConvBertTokenizer", "LxmertTokenizer",     "LayoutLMTokenizer", "SqueezeBertTokenizer"};

void check_class(const TokenizerSettings& settings, const std::filesystem::path& folder) {
  const auto name = settings.tokenizer_class();
  if (!name) return;
  std::string_view plain = *name;
  if (plain.ends_with("Fast")) plain.remove_suffix(4);
  if (std::find(kBertClasses.begin(), kBertClasses.end(), plain) != kBertClasses.end()) return;
  throw DataError(fmt::format(
      "{}: tokenizer_class: \"{}\" with a vocab.txt is not supported, expected BertTokenizer or a "
      "class equal to it; store a tokenizer.json with transformers' save_pretrained",
      (folder / "tokenizer_config.json").string(), *name));
}

struct SpecialToken {
  std::string role, text;
  std::optional<int32_t> id;
};

// The special tokens of BERT. Only the mask may be missing from the vocabulary.
std::vector<SpecialToken> find_special_tokens(const TokenizerSettings& settings,
                                              const Vocabulary& vocabulary,
                                              const std::filesystem::path& file) {
  std::vector<SpecialToken> tokens = {{"unk_token", "[UNK]", {}},
                                      {"sep_token", "[SEP]", {}},
                                      {"pad_token", "[PAD]", {}},
                                      {"cls_token", "[CLS]", {}},
                                      {"mask_token", "[MASK]", {}}};
  for (SpecialToken& token : tokens) {
    token.text = settings.special_token(token.role).value_or(token.text);
    token.id = vocabulary.find(token.text);
    if (token.id || token.role == "mask_token") continue;
    throw DataError(fmt::format(
        "{}: no line is \"{}\", the {} of this tokenizer; add it to the vocabulary, or name "
        "another one in tokenizer_config.json",
        file.string(), token.text, token.role));
  }
  return tokens;
}

std::vector<TemplatePart> bert_template(int32_t cls, int32_t sep, bool is_pair) {
  using Kind = TemplatePart::Kind;
  std::vector<TemplatePart> parts = {
      {Kind::kSpecial, 0, {cls}}, {Kind::kFirst, 0, {}}, {Kind::kSpecial, 0, {sep}}};
  if (is_pair) {
    parts.push_back({Kind::kSecond, 1, {}});
    parts.push_back({Kind::kSpecial, 1, {sep}});
  }
  return parts;
}

}  // namespace

Vocabulary read_vocab_txt(const std::filesystem::path& file) {
  const std::string content = read_file(file);
  Vocabulary vocabulary;
  int64_t line_number = 0;
  for (size_t at = 0; at < content.size();) {
    const size_t newline = std::min(content.find('\n', at), content.size());
    std::string_view line = std::string_view(content).substr(at, newline - at);
    at = newline + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    const auto fail = [&, number = ++line_number](const std::string& problem) {
      throw DataError(fmt::format("{}:{}: {}", file.string(), number, problem));
    };
    if (line.empty()) fail("empty line; a vocabulary has one token a line");
    if (!unicode::is_valid_utf8(line)) fail("not valid UTF-8; convert the file");
    if (line_number - 1 > kLargestTokenId) fail("more lines than a vocabulary can have");
    if (const auto first = vocabulary.find(line)) {
      fail(fmt::format("\"{}\" is already the token of line {}; a token can have one id only", line,
                       *first + 1));
    }
    vocabulary.add(line, static_cast<int32_t>(line_number - 1));
  }
  if (vocabulary.size() == 0) {
    throw DataError(fmt::format("{}: the vocabulary is empty", file.string()));
  }
  return vocabulary;
}

TokenizerStages stages_from_vocab_txt(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "vocab.txt";
  const TokenizerSettings settings = TokenizerSettings::read(folder);
  check_class(settings, folder);
  if (file_exists(folder / "added_tokens.json")) {
    throw DataError(
        fmt::format("{}: not supported beside vocab.txt; store a tokenizer.json with transformers' "
                    "save_pretrained",
                    (folder / "added_tokens.json").string()));
  }
  TokenizerStages stages;
  stages.vocabulary = read_vocab_txt(file);
  const auto special = find_special_tokens(settings, stages.vocabulary, file);
  stages.model = std::make_unique<WordPiece>(stages.vocabulary,
                                             WordPieceOptions{.unknown_token = special[0].text});
  for (const SpecialToken& token : special) {
    if (!token.id) continue;
    stages.added_tokens.push_back({.content = token.text, .id = *token.id, .special = true});
  }
  for (AddedToken& token : settings.added_tokens()) {
    stages.added_tokens.push_back(std::move(token));
  }
  add_to_vocabulary(stages.vocabulary, stages.added_tokens, folder / "tokenizer_config.json");
  BertNormalizerOptions normalization;
  settings.apply_to(normalization);
  stages.normalizer = std::make_unique<BertNormalizer>(normalization);
  stages.pre_tokenizer = std::make_unique<BertPreTokenizer>();
  stages.decoder = std::make_unique<WordPieceDecoder>("##", true);
  const int32_t sep = *special[1].id, cls = *special[3].id;
  stages.special_tokens = {bert_template(cls, sep, false), bert_template(cls, sep, true)};
  stages.pad_id = *special[2].id;
  stages.model_max_length = settings.model_max_length();
  return stages;
}

}  // namespace quell
