// Reading the tokenizer files of a Hugging Face model folder. Every function throws DataError that
// names the file, and the line or JSON path, of what is broken or not supported.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "framework/text/bert_normalizer.h"
#include "framework/text/byte_pair_encoding.h"
#include "framework/text/json_view.h"
#include "framework/text/tokenizer_pipeline.h"

namespace quell {

// Ids above this are taken for a broken file.
inline constexpr int64_t kLargestTokenId = (int64_t{1} << 24) - 1;

// What tokenizer_config.json (and, for the names of special tokens, the older
// special_tokens_map.json) says; both may be absent.
class TokenizerSettings {
 public:
  static TokenizerSettings read(const std::filesystem::path& folder);

  // The text of a special token, e.g. `role` "pad_token", if the files give it.
  std::optional<std::string> special_token(const std::string& role) const;
  std::optional<std::string> tokenizer_class() const;
  // Absent when unlimited: missing, null, or the 1e30 that Hugging Face writes.
  std::optional<int64_t> model_max_length() const;
  // Replaces in `options` what the file states.
  void apply_to(BertNormalizerOptions& options) const;
  bool flag(const std::string& key, bool otherwise) const;
  // The tokens of added_tokens_decoder.
  std::vector<AddedToken> added_tokens() const;

 private:
  std::optional<JsonView> config_, special_tokens_map_;
};

bool file_exists(const std::filesystem::path& file);

// One entry of added_tokens (tokenizer.json) or added_tokens_decoder, without its id.
AddedToken read_added_token(const JsonView& entry);

// Puts added tokens into the vocabulary. `source` names the file in errors.
void add_to_vocabulary(Vocabulary& vocabulary, const std::vector<AddedToken>& tokens,
                       const std::filesystem::path& source);

// A BERT vocabulary: one token a line, ids count from 0.
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

// <s> A </s>, and for a pair <s> A </s> </s> B </s>; the type is 0 throughout.
SpecialTokenTemplate roberta_template(int32_t cls, int32_t sep);

// RoBERTa, BART and GPT-2 from vocab.json and merges.txt, with the defaults of their classes.
TokenizerStages stages_from_vocab_json(const std::filesystem::path& folder);

// BERT from vocab.txt, with the defaults of BertTokenizer.
TokenizerStages stages_from_vocab_txt(const std::filesystem::path& folder);

// From tokenizer.json, which says everything; tokenizer_config.json may override the normalization
// (as transformers does).
TokenizerStages stages_from_tokenizer_json(const std::filesystem::path& folder);

}  // namespace quell
