// Reading the tokenizer files of a Hugging Face model folder. Every function throws DataError that
// names the file, and the line or JSON path, of what is broken or not supported.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "framework/text/bert_normalizer.h"
#include "framework/text/byte_pair_encoding.h"
#include "framework/text/json_view.h"
#include "framework/text/tokenizer_class.h"
#include "framework/text/tokenizer_pipeline.h"

namespace quell {

// Ids above this are taken for a broken file.
inline constexpr int64_t kLargestTokenId = (int64_t{1} << 24) - 1;

// What config.json, tokenizer_config.json, special_tokens_map.json and added_tokens.json say; all
// may be absent. Their keys are checked with the tables of tokenizer_keys.h.
class TokenizerSettings {
 public:
  static TokenizerSettings read(const std::filesystem::path& folder);

  const std::filesystem::path& folder() const { return folder_; }
  const std::optional<JsonView>& config() const { return config_; }
  const std::optional<JsonView>& special_tokens_map() const { return special_tokens_map_; }
  const std::optional<JsonView>& added_tokens_json() const { return added_tokens_json_; }

  // Of tokenizer_config.json, else of config.json. Throws DataError when the first is "" and the
  // second is not.
  std::optional<std::string> tokenizer_class() const;
  std::optional<std::string> model_type() const;
  // Absent when unlimited: missing, null, or the 1e30 that Hugging Face writes.
  std::optional<int64_t> model_max_length() const;
  // Whether model_input_names has token_type_ids.
  bool has_types(bool otherwise) const;
  // Replaces in `options` what the file states.
  void apply_to(BertNormalizerOptions& options) const;
  bool flag(const std::string& key, bool otherwise) const;
  // Refuses what would cut texts, or place their tokens, in another way than quell does.
  void check_sides(const std::optional<JsonView>& tokenizer_json) const;

  std::vector<std::string>& notes() { return notes_; }

 private:
  std::filesystem::path folder_;
  std::optional<JsonView> model_config_, config_, special_tokens_map_, added_tokens_json_;
  std::vector<std::string> notes_;
};

bool file_exists(const std::filesystem::path& file);
std::optional<JsonView> read_if_there(const std::filesystem::path& file);

// One entry of added_tokens (tokenizer.json), added_tokens_decoder or special_tokens_map.json,
// without its id. With `always_special` it is special whatever it says.
AddedToken read_added_token(const JsonView& entry, bool always_special = false);
// Those of tokenizer.json, with their ids.
std::vector<AddedToken> read_added_tokens(const JsonView& root);

// A BERT vocabulary: one token a line, ids count from 0. Of several blank lines the last counts.
Vocabulary read_vocab_txt(const std::filesystem::path& file);

// Merges of a byte-pair encoding as `vocabulary` has them. A merge that is not there fails.
// Lines "left right" of merges.txt, after a first line that begins with "#version".
std::vector<BytePairEncoding::Merge> read_merges_txt(const std::filesystem::path& file,
                                                     const Vocabulary& vocabulary);
// A list of such texts, or of pairs.
std::vector<BytePairEncoding::Merge> read_merges(const JsonView& list,
                                                 const Vocabulary& vocabulary);

// An object from tokens to ids.
Vocabulary read_vocabulary(const JsonView& table);

// The parts of tokenizer.json; null where the file has none.
std::unique_ptr<Normalizer> read_normalizer(const JsonView& root);
std::unique_ptr<Decoder> read_decoder(const JsonView& root);
// Says in `byte_level` whether words are to be spelled in bytes.
std::unique_ptr<PreTokenizer> read_pre_tokenizer(const JsonView& root, bool& byte_level);
// Sets what stages say of special tokens and of offsets.
void read_post_processor(const JsonView& root, TokenizerStages& stages);

// What is put around texts where tokenizer.json does not say it.
SpecialTokenTemplate bert_template(int32_t cls, int32_t sep);
// <s> A </s>, and for a pair <s> A </s> </s> B </s>; the type is 0 throughout.
SpecialTokenTemplate roberta_template(int32_t cls, int32_t sep);
// A, or A and B, each between `bos` and `eos` where those are given.
SpecialTokenTemplate plain_template(std::optional<int32_t> bos, std::optional<int32_t> eos);

// Stages as tokenizer.json says.
TokenizerStages stages_from_tokenizer_json(const TokenizerSettings& settings,
                                           const JsonView& tokenizer_json);
// Stages as BERT's classes of transformers build them from the vocabulary of tokenizer.json or
// vocab.txt.
TokenizerStages bert_stages(const TokenizerSettings& settings,
                            const std::optional<JsonView>& tokenizer_json);
// The same for RoBERTa, GPT-2 and LLaMA, from tokenizer.json or vocab.json and merges.txt.
TokenizerStages byte_pair_stages(const TokenizerSettings& settings,
                                 const std::optional<JsonView>& tokenizer_json,
                                 TokenizerBuild build);

}  // namespace quell
