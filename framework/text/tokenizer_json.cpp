#include <fmt/format.h>

#include "framework/base/error.h"
#include "framework/text/byte_level.h"
#include "framework/text/regex_pre_tokenizer.h"
#include "framework/text/tokenizer_files.h"
#include "framework/text/unicode.h"
#include "framework/text/word_piece.h"

namespace quell {
namespace {

[[noreturn]] void fail_unsupported(const JsonView& part, std::string_view supported) {
  part.fail(fmt::format("\"{}\" is not supported; supported: {}", part.at("type").as_string(),
                        supported));
}

void read_word_piece(const JsonView& model, TokenizerStages& stages) {
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

// Byte-level: what other variants need is refused.
void read_byte_pairs(const JsonView& model, TokenizerStages& stages) {
  for (const char* prefix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!model.get_string(prefix, "").empty()) model.at(prefix).fail("is not supported");
  }
  if (const auto dropout = model.find("dropout")) dropout->fail("is not supported");
  if (model.get_bool("byte_fallback", false)) {
    model.at("byte_fallback").fail("is not supported; only byte-level vocabularies are");
  }
  const BytePairOptions options{.ignore_merges = model.get_bool("ignore_merges", false)};
  stages.model = std::make_unique<BytePairEncoding>(
      stages.vocabulary, read_merges(model.at("merges"), stages.vocabulary), options);
}

void read_model(const JsonView& model, TokenizerStages& stages) {
  const std::string type = model.at("type").as_string();
  if (type != "WordPiece" && type != "BPE") fail_unsupported(model, "WordPiece, BPE");
  stages.vocabulary = read_vocabulary(model.at("vocab"));
  type == "BPE" ? read_byte_pairs(model, stages) : read_word_piece(model, stages);
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

// BPE works on bytes, so it needs a ByteLevel; alone it splits as GPT-2 does, behind a Split it may
// be told to leave that to it.
void read_byte_level(const JsonView& part, TokenizerStages& stages) {
  stages.prefix_space = part.get_bool("add_prefix_space", true);
  if (!part.get_bool("use_regex", true)) return;
  if (stages.pre_tokenizer) part.fail("splits what is split already; set \"use_regex\" to false");
  stages.pre_tokenizer = std::make_unique<RegexPreTokenizer>(kGpt2Words);
}

void read_split(const JsonView& part, TokenizerStages& stages) {
  if (stages.pre_tokenizer) part.fail("more than one split is not supported");
  const std::string behavior = part.at("behavior").as_string();
  if (behavior != "Isolated" || part.get_bool("invert", false)) {
    part.fail(fmt::format("behavior \"{}\" is not supported; supported: Isolated, not inverted",
                          behavior));
  }
  const JsonView pattern = part.at("pattern").at("Regex");
  try {
    stages.pre_tokenizer = std::make_unique<RegexPreTokenizer>(pattern.as_string());
  } catch (const DataError& error) {
    pattern.fail(error.what());
  }
}

// The pre-tokenizer of a byte-pair encoding. Returns whether it makes bytes.
bool read_byte_level_steps(const JsonView& part, TokenizerStages& stages) {
  const std::string type = part.at("type").as_string();
  bool found = type == "ByteLevel";
  if (found) {
    read_byte_level(part, stages);
  } else if (type == "Split") {
    read_split(part, stages);
  } else if (type == "Sequence") {
    const JsonView steps = part.at("pretokenizers");
    for (size_t i = 0; i < steps.size(); ++i) found |= read_byte_level_steps(steps.at(i), stages);
  } else {
    fail_unsupported(part, "ByteLevel, Split, Sequence");
  }
  return found;
}

void read_pre_tokenizer(const JsonView& root, TokenizerStages& stages) {
  const auto part = root.find("pre_tokenizer");
  if (root.at("model").at("type").as_string() == "BPE") {
    if (part && read_byte_level_steps(*part, stages)) return;
    root.fail("a BPE model without a ByteLevel pre_tokenizer is not supported");
  }
  if (!part) return;
  if (part->at("type").as_string() != "BertPreTokenizer") {
    fail_unsupported(*part, "BertPreTokenizer");
  }
  stages.pre_tokenizer = std::make_unique<BertPreTokenizer>();
}

std::unique_ptr<Decoder> read_decoder(const JsonView& root) {
  const auto part = root.find("decoder");
  if (!part) return nullptr;
  const std::string type = part->at("type").as_string();
  if (type == "ByteLevel") return std::make_unique<ByteLevelDecoder>();
  if (type != "WordPiece") fail_unsupported(*part, "WordPiece, ByteLevel");
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

SpecialTokenTemplate read_special_tokens(const JsonView& root, TokenizerStages& stages) {
  const Vocabulary& vocabulary = stages.vocabulary;
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
  if (type == "RobertaProcessing" || type == "ByteLevel") {
    stages.trim_offsets = part->get_bool("trim_offsets", true);
    stages.trim_keeps_prefix_space = part->get_bool("add_prefix_space", true);
    if (type == "ByteLevel") return {{first}, {first, second}};
    const TemplatePart cls = read_bert_token(part->at("cls"), vocabulary, 0);
    const TemplatePart sep = read_bert_token(part->at("sep"), vocabulary, 0);
    return roberta_template(cls.ids.front(), sep.ids.front());
  }
  if (type != "TemplateProcessing") {
    fail_unsupported(*part, "TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel");
  }
  const JsonView tokens = part->at("special_tokens");
  return {read_template(part->at("single"), tokens, vocabulary, false),
          read_template(part->at("pair"), tokens, vocabulary, true)};
}

int64_t read_pad_id(const JsonView& root, const TokenizerSettings& settings,
                    const Vocabulary& vocabulary) {
  const auto named = settings.special_token("pad_token");
  if (const auto id = vocabulary.find(named.value_or("[PAD]"))) return *id;
  if (const auto id = vocabulary.find(named.value_or("<pad>"))) return *id;
  if (const auto padding = root.find("padding")) {
    return known_id(padding->at("pad_id"), vocabulary);
  }
  // Generators without padding are padded with what ends a text.
  const auto end = named ? std::nullopt : settings.special_token("eos_token");
  if (const auto id = vocabulary.find(end.value_or(""))) return *id;
  root.fail(
      fmt::format("the padding token \"{}\" is not in the vocabulary; name another one as "
                  "pad_token in tokenizer_config.json",
                  named.value_or("[PAD]\" or \"<pad>")));
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
  read_pre_tokenizer(root, stages);
  stages.decoder = read_decoder(root);
  stages.special_tokens = read_special_tokens(root, stages);
  stages.pad_id = read_pad_id(root, settings, stages.vocabulary);
  stages.model_max_length = settings.model_max_length();
  return stages;
}

}  // namespace quell
