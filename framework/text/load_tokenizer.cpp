#include <fmt/format.h>

#include <unordered_set>

#include "framework/base/error.h"
#include "framework/text/sentence_piece.h"
#include "framework/text/tokenizer_files.h"
#include "framework/text/tokenizer_keys.h"
#include "framework/text/word_piece.h"

namespace quell {
namespace {

// How BERT's and GPT-2's vocabularies come without tokenizer.json. LLaMA's class reads neither.
bool has_parts(const std::filesystem::path& folder, TokenizerBuild build) {
  if (build == TokenizerBuild::kLlama) return false;
  if (build == TokenizerBuild::kBert) return file_exists(folder / "vocab.txt");
  return file_exists(folder / "vocab.json") && file_exists(folder / "merges.txt");
}

[[noreturn]] void fail_without_files(const std::filesystem::path& folder,
                                     const TokenizerClass& type) {
  throw DataError(fmt::format(
      "{}: no tokenizer here{}: expected tokenizer.json, or vocab.txt (BERT), or vocab.json and "
      "merges.txt (RoBERTa, BART, GPT-2), or tokenizer.model (LLaMA) with config.json or "
      "tokenizer_config.json to say which; store them with transformers' save_pretrained",
      folder.string(),
      type.name.empty() ? ""
                        : fmt::format(" that the tokenizer_class \"{}\" can read", type.name)));
}

// Classes that build their stages themselves do so from one kind of vocabulary.
void check_model(const JsonView& tokenizer_json, const TokenizerClass& type) {
  const JsonView model = tokenizer_json.at("model");
  const std::string found = model.at("type").as_string();
  const std::string expected = type.build == TokenizerBuild::kBert ? "WordPiece" : "BPE";
  if (found == expected) return;
  model.fail(fmt::format(
      "\"{}\" is not what the tokenizer_class \"{}\" has, which follows from "
      "tokenizer_config.json or config.json; expected \"{}\"; to take tokenizer.json as it is, set "
      "tokenizer_class to PreTrainedTokenizerFast in tokenizer_config.json",
      found, type.name, expected));
}

// What SentencePiece's file says, as tokenizer.json. LLaMA's class begins texts with the start
// token unless tokenizer_config.json says otherwise.
JsonView read_sentence_piece_file(const TokenizerSettings& settings, const TokenizerClass& type) {
  const auto file = settings.folder() / "tokenizer.model";
  const bool begins = type.build == TokenizerBuild::kLlama;
  return JsonView::of(
      tokenizer_json_of(read_sentence_piece(file), file, settings.flag("add_bos_token", begins),
                        settings.flag("add_eos_token", false)),
      file);
}

TokenizerStages make_stages(TokenizerSettings& settings, TokenizerClass& type) {
  const std::filesystem::path& folder = settings.folder();
  const auto tokenizer_json = read_if_there(folder / "tokenizer.json");
  if (!tokenizer_json && !has_parts(folder, type.build) &&
      file_exists(folder / "tokenizer.model")) {
    const JsonView stored = read_sentence_piece_file(settings, type);
    type = {type.name, TokenizerBuild::kAsStored, false};
    settings.check_sides(stored);
    return stages_from_tokenizer_json(settings, stored);
  }
  settings.check_sides(tokenizer_json);
  if (tokenizer_json) check_tokenizer_json(*tokenizer_json, settings.notes());
  if (type.build == TokenizerBuild::kAsStored) {
    if (tokenizer_json) return stages_from_tokenizer_json(settings, *tokenizer_json);
    // transformers would not read such a folder.
    const bool is_bert = type.name.empty() && has_parts(folder, TokenizerBuild::kBert);
    if (!is_bert) fail_without_files(folder, type);
    type.build = TokenizerBuild::kBert;
    type.has_types = true;
  }
  if (tokenizer_json) check_model(*tokenizer_json, type);
  if (!tokenizer_json && !has_parts(folder, type.build)) fail_without_files(folder, type);
  return type.build == TokenizerBuild::kBert
             ? bert_stages(settings, tokenizer_json)
             : byte_pair_stages(settings, tokenizer_json, type.build);
}

// Of the tokens that are not special: a model may have no row for a <mask> that no text contains.
int64_t largest_regular_id(const TokenizerStages& stages) {
  std::unordered_set<int64_t> special;
  for (const AddedToken& token : stages.added_tokens) {
    if (token.special) special.insert(token.id);
  }
  int64_t id = stages.vocabulary.largest_id();
  while (id > 0 && (special.contains(id) || !stages.vocabulary.token(id))) --id;
  return id;
}

}  // namespace

std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& folder) {
  TokenizerSettings settings = TokenizerSettings::read(folder);
  TokenizerClass type = choose_tokenizer_class(settings);
  TokenizerStages stages = make_stages(settings, type);
  stages.has_types = settings.has_types(type.has_types);
  stages.splits_special = settings.flag("split_special_tokens", false);
  // As in transformers, to which blanks of byte-pair encodings are text.
  const bool is_word_piece = dynamic_cast<const WordPiece*>(stages.model.get()) != nullptr;
  stages.cleans_up = is_word_piece && settings.flag("clean_up_tokenization_spaces", false);
  stages.model_max_length = settings.model_max_length();
  stages.notes.insert(stages.notes.begin(), settings.notes().begin(), settings.notes().end());
  stages.largest_id = largest_regular_id(stages);
  return std::make_unique<TokenizerPipeline>(std::move(stages));
}

}  // namespace quell
