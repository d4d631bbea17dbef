#include <fmt/format.h>

#include "framework/base/error.h"
#include "framework/text/tokenizer_files.h"
#include "framework/text/unicode.h"
#include "framework/text/word_piece.h"

namespace quell {
namespace {

[[noreturn]] void fail_unsupported(const JsonView& part, std::string_view supported) {
  part.fail(fmt::format("\"{}\" is not supported; supported: {}", part.at("type").as_string(),
                        supported));
}

Vocabulary read_vocabulary(const JsonView& table) {
  if (!table.value().is_object()) table.fail("expected an object from tokens to ids");
  Vocabulary vocabulary;
  for (const auto& [token, value] : table.value().items()) {
    const bool is_id = value.is_number_unsigned() && value.get<uint64_t>() <= kLargestTokenId;
    if (!is_id) table.at(token).as_integer(0, kLargestTokenId);  // says what is wrong
    const auto id = value.get<int32_t>();
    if (vocabulary.add(token, id)) continue;
    table.fail(fmt::format("\"{}\" and \"{}\" have the same id {}",
                           vocabulary.token(id).value_or(""), token, id));
  }
  return vocabulary;
}

void read_model(const JsonView& model, TokenizerStages& stages) {
  if (model.at("type").as_string() != "WordPiece") fail_unsupported(model, "WordPiece");
  stages.vocabulary = read_vocabulary(model.at("vocab"));
  WordPieceOptions options;
  options.unknown_token = model.get_string("unk_token", options.unknown_token);
  options.continuation_prefix =
      model.get_string("continuing_subword_prefix", options.continuation_prefix);
  if (const auto length = model.find("max_input_chars_per_word")) {
    options.max_word_length = length->as_integer(0, INT32_MAX);
  }
  if (!stages.vocabulary.find(options.unknown_token)) {
    model.fail(fmt::format("the unknown token \"{}\" is not in the vocabulary; add it to vocab",
                           options.unknown_token));
  }
  stages.model = std::make_unique<WordPiece>(stages.vocabulary, options);
}

std::vector<AddedToken> read_added_tokens(const JsonView& root) {
  std::vector<AddedToken> tokens;
  const auto list = root.find("added_tokens");
  for (size_t i = 0; list && i < list->size(); ++i) {
    const JsonView entry = list->at(i);
    AddedToken token = read_added_token(entry);
    token.id = static_cast<int32_t>(entry.at("id").as_integer(0, kLargestTokenId));
    tokens.push_back(std::move(token));
  }
  return tokens;
}

std::unique_ptr<Normalizer> read_normalizer(const JsonView& root,
                                            const TokenizerSettings& settings) {
  const auto part = root.find("normalizer");
  if (!part) return nullptr;
  if (part->at("type").as_string() != "BertNormalizer") fail_unsupported(*part, "BertNormalizer");
  BertNormalizerOptions options;
  options.clean_text = part->get_bool("clean_text", options.clean_text);
  options.space_chinese = part->get_bool("handle_chinese_chars", options.space_chinese);
  options.lowercase = part->get_bool("lowercase", options.lowercase);
  if (const auto strip = part->find("strip_accents")) options.strip_accents = strip->as_bool();
  settings.apply_to(options);
  return std::make_unique<BertNormalizer>(options);
}

std::unique_ptr<PreTokenizer> read_pre_tokenizer(const JsonView& root) {
  const auto part = root.find("pre_tokenizer");
  if (!part) return nullptr;
  if (part->at("type").as_string() != "BertPreTokenizer") {
    fail_unsupported(*part, "BertPreTokenizer");
  }
  return std::make_unique<BertPreTokenizer>();
}

std::unique_ptr<Decoder> read_decoder(const JsonView& root) {
  const auto part = root.find("decoder");
  if (!part) return nullptr;
  if (part->at("type").as_string() != "WordPiece") fail_unsupported(*part, "WordPiece");
  return std::make_unique<WordPieceDecoder>(part->get_string("prefix", "##"),
                                            part->get_bool("cleanup", true));
}

int32_t known_id(const JsonView& value, const Vocabulary& vocabulary) {
  const int64_t id = value.as_integer(0, kLargestTokenId);
  if (!vocabulary.token(id)) value.fail(fmt::format("no token has the id {}", id));
  return static_cast<int32_t>(id);
}

// `[{"SpecialToken": {"id", "type_id"}}, {"Sequence": {"id": "A" or "B", "type_id"}}, ...]`
std::vector<TemplatePart> read_template(const JsonView& list, const JsonView& special_tokens,
                                        const Vocabulary& vocabulary, bool is_pair) {
  std::vector<TemplatePart> parts;
  bool has_first = false, has_second = false;
  for (size_t i = 0; i < list.size(); ++i) {
    const JsonView entry = list.at(i);
    TemplatePart part;
    const auto sequence = entry.find("Sequence");
    const JsonView content = sequence ? *sequence : entry.at("SpecialToken");
    const std::string name = content.at("id").as_string();
    part.type_id = content.at("type_id").as_integer(0, INT32_MAX);
    if (sequence) {
      if (name != "A" && name != "B") content.fail("expected the id \"A\" or \"B\"");
      part.kind = name == "A" ? TemplatePart::Kind::kFirst : TemplatePart::Kind::kSecond;
      (name == "A" ? has_first : has_second) = true;
    } else {
      part.kind = TemplatePart::Kind::kSpecial;
      const JsonView ids = special_tokens.at(name).at("ids");
      for (size_t k = 0; k < ids.size(); ++k) part.ids.push_back(known_id(ids.at(k), vocabulary));
    }
    parts.push_back(std::move(part));
  }
  if (!has_first || has_second != is_pair) {
    list.fail(is_pair ? "expected the sequences A and B" : "expected the sequence A, and no B");
  }
  return parts;
}

// ["[SEP]", 102]
TemplatePart read_bert_token(const JsonView& pair, const Vocabulary& vocabulary, int64_t type_id) {
  if (pair.size() != 2) pair.fail("expected a token and its id");
  return {TemplatePart::Kind::kSpecial, type_id, {known_id(pair.at(1), vocabulary)}};
}

SpecialTokenTemplate read_special_tokens(const JsonView& root, const Vocabulary& vocabulary) {
  const TemplatePart first{TemplatePart::Kind::kFirst, 0, {}};
  const TemplatePart second{TemplatePart::Kind::kSecond, 1, {}};
  const auto part = root.find("post_processor");
  if (!part) return {{first}, {first, second}};
  const std::string type = part->at("type").as_string();
  if (type == "BertProcessing") {
    const JsonView cls_json = part->at("cls"), sep_json = part->at("sep");
    const TemplatePart cls = read_bert_token(cls_json, vocabulary, 0);
    const TemplatePart sep = read_bert_token(sep_json, vocabulary, 0);
    const TemplatePart last = read_bert_token(sep_json, vocabulary, 1);
    return {{cls, first, sep}, {cls, first, sep, second, last}};
  }
  if (type != "TemplateProcessing") fail_unsupported(*part, "TemplateProcessing, BertProcessing");
  const JsonView tokens = part->at("special_tokens");
  return {read_template(part->at("single"), tokens, vocabulary, false),
          read_template(part->at("pair"), tokens, vocabulary, true)};
}

int64_t read_pad_id(const JsonView& root, const TokenizerSettings& settings,
                    const Vocabulary& vocabulary) {
  const auto named = settings.special_token("pad_token");
  if (const auto id = vocabulary.find(named.value_or("[PAD]"))) return *id;
  if (const auto padding = root.find("padding")) {
    return known_id(padding->at("pad_id"), vocabulary);
  }
  root.fail(
      fmt::format("the padding token \"{}\" is not in the vocabulary; name another one as "
                  "pad_token in tokenizer_config.json",
                  named.value_or("[PAD]")));
}

}  // namespace

// The file's own "truncation" and "padding" are left aside, as transformers does: both are choices
// of each call.
TokenizerStages stages_from_tokenizer_json(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "tokenizer.json";
  const TokenizerSettings settings = TokenizerSettings::read(folder);
  const JsonView root = JsonView::read(file);
  TokenizerStages stages;
  read_model(root.at("model"), stages);
  stages.added_tokens = read_added_tokens(root);
  add_to_vocabulary(stages.vocabulary, stages.added_tokens, file);
  stages.normalizer = read_normalizer(root, settings);
  stages.pre_tokenizer = read_pre_tokenizer(root);
  stages.decoder = read_decoder(root);
  stages.special_tokens = read_special_tokens(root, stages.vocabulary);
  stages.pad_id = read_pad_id(root, settings, stages.vocabulary);
  stages.model_max_length = settings.model_max_length();
  return stages;
}

}  // namespace quell
