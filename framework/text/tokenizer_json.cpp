#include <fmt/format.h>

#include "framework/base/error.h"
#include "framework/text/declared_tokens.h"
#include "framework/text/tokenizer_files.h"
#include "framework/text/word_piece.h"

namespace quell {
namespace {

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

void read_byte_pairs(const JsonView& model, bool byte_level, TokenizerStages& stages) {
  BytePairOptions options{.byte_level = byte_level,
                          .ignore_merges = model.get_bool("ignore_merges", false),
                          .byte_fallback = model.get_bool("byte_fallback", false),
                          .fuse_unknown = model.get_bool("fuse_unk", false)};
  if (options.byte_fallback && byte_level) {
    model.at("byte_fallback").fail("is not supported with a ByteLevel pre_tokenizer");
  }
  if (const auto unknown = model.find("unk_token")) {
    options.unknown_id = stages.vocabulary.find(unknown->as_string());
    if (!options.unknown_id) unknown->fail("is not in the vocabulary; add it to vocab");
  } else if (!byte_level && !options.byte_fallback) {
    model.fail(
        "characters that the vocabulary lacks would be lost: expected an unk_token, "
        "byte_fallback, or a ByteLevel pre_tokenizer");
  }
  stages.model = std::make_unique<BytePairEncoding>(
      stages.vocabulary, read_merges(model.at("merges"), stages.vocabulary), options);
}

void read_model(const JsonView& model, bool byte_level, TokenizerStages& stages) {
  const std::string type = model.at("type").as_string();
  if (type != "WordPiece" && type != "BPE") {
    model.fail(fmt::format("\"{}\" is not supported; supported: WordPiece, BPE", type));
  }
  stages.vocabulary = read_vocabulary(model.at("vocab"));
  if (type == "BPE") return read_byte_pairs(model, byte_level, stages);
  if (byte_level) model.fail("a WordPiece behind a ByteLevel pre_tokenizer is not supported");
  read_word_piece(model, stages);
}

int64_t read_pad_id(const JsonView& root, const DeclaredTokens& declared,
                    const Vocabulary& vocabulary) {
  const auto named = declared.text("pad_token");
  if (const auto id = vocabulary.find(named.value_or("[PAD]"))) return *id;
  if (const auto id = vocabulary.find(named.value_or("<pad>"))) return *id;
  if (const auto padding = root.find("padding")) {
    const int64_t id = padding->at("pad_id").as_integer(0, kLargestTokenId);
    if (vocabulary.token(id)) return id;
  }
  // Generators without padding are padded with what ends a text.
  const auto end = named ? std::nullopt : declared.text("eos_token");
  if (const auto id = vocabulary.find(end.value_or(""))) return *id;
  // LLaMA names none; nothing of quell pads with it.
  const auto unknown = root.at("model").find("unk_token");
  const bool is_bpe = root.at("model").at("type").as_string() == "BPE";
  if (is_bpe && unknown && !named) return *vocabulary.find(unknown->as_string());
  root.fail(
      fmt::format("the padding token \"{}\" is not in the vocabulary; name another one as "
                  "pad_token in tokenizer_config.json",
                  named.value_or("[PAD]\" or \"<pad>")));
}

// transformers names the token of the file's "padding" where no other file names one.
SpecialTokenDefaults stored_defaults(const JsonView& root) {
  const auto padding = root.find("padding");
  const auto token = padding ? padding->find("pad_token") : std::nullopt;
  if (!token) return {};
  return {{"pad_token", token->as_string()}};
}

}  // namespace

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

TokenizerStages stages_from_tokenizer_json(const TokenizerSettings& settings,
                                           const JsonView& tokenizer_json) {
  TokenizerStages stages;
  bool byte_level = false;
  stages.pre_tokenizer = read_pre_tokenizer(tokenizer_json, byte_level);
  read_model(tokenizer_json.at("model"), byte_level, stages);
  TokenAdder adder(stages);
  for (const AddedToken& token : read_added_tokens(tokenizer_json)) {
    adder.add(token, token.id, tokenizer_json.place());
  }
  stages.normalizer = read_normalizer(tokenizer_json);
  stages.decoder = read_decoder(tokenizer_json);
  read_post_processor(tokenizer_json, stages);
  const DeclaredTokens declared(settings, tokenizer_json);
  declared.add_to(stages, stored_defaults(tokenizer_json));
  stages.pad_id = read_pad_id(tokenizer_json, declared, stages.vocabulary);
  const auto id = [&](const char* role) -> std::optional<int64_t> {
    return stages.vocabulary.find(declared.text(role).value_or(""));
  };
  stages.bos_id = id("bos_token");
  stages.eos_id = id("eos_token");
  return stages;
}

}  // namespace quell
