// A tokenizer put together from its stages.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "framework/text/added_tokens.h"
#include "framework/text/stages.h"
#include "framework/text/tokenizer.h"
#include "framework/text/truncation.h"
#include "framework/text/vocabulary.h"

namespace quell {

// One element of a template such as `[CLS] A [SEP] B [SEP]`.
struct TemplatePart {
  enum class Kind { kSpecial, kFirst, kSecond };
  Kind kind = Kind::kFirst;
  int64_t type_id = 0;
  std::vector<int32_t> ids;  // kSpecial only
};

// How special tokens surround a single text and a pair.
struct SpecialTokenTemplate {
  std::vector<TemplatePart> single, pair;
};

struct TokenizerStages {
  Vocabulary vocabulary;  // added tokens included
  std::vector<AddedToken> added_tokens;
  std::unique_ptr<Normalizer> normalizer;       // may be null
  std::unique_ptr<PreTokenizer> pre_tokenizer;  // may be null: the text is one word
  std::unique_ptr<SubwordModel> model;
  std::unique_ptr<Decoder> decoder;  // may be null: tokens with blanks between them
  // White space is taken out of the offsets of byte-level tokens.
  bool trim_offsets = false;
  bool trim_keeps_prefix_space = false;  // but not the one that a text may have been given
  SpecialTokenTemplate special_tokens;
  bool splits_special = false;  // special tokens are not looked for in texts
  bool cleans_up = false;       // texts that are written lose blanks before punctuation
  bool has_types = true;        // the model is told which text a token belongs to
  int64_t pad_id = 0;
  std::optional<int64_t> bos_id, eos_id;
  int64_t largest_id = 0;  // of the tokens that are not special
  std::optional<int64_t> model_max_length;
  std::vector<std::string> notes;
};

class TokenizerPipeline final : public Tokenizer {
 public:
  explicit TokenizerPipeline(TokenizerStages stages);

  std::vector<Encoding> encode(std::string_view text, std::optional<std::string_view> pair,
                               const TokenizerOptions& options) const override;
  std::string decode(const std::vector<int64_t>& ids, bool skip_special_tokens) const override;

  int64_t vocabulary_size() const override { return stages_.vocabulary.size(); }
  int64_t largest_id() const override { return stages_.largest_id; }
  int64_t pad_id() const override { return stages_.pad_id; }
  std::optional<int64_t> bos_id() const override { return stages_.bos_id; }
  std::optional<int64_t> eos_id() const override { return stages_.eos_id; }
  std::optional<int64_t> model_max_length() const override { return stages_.model_max_length; }
  const std::vector<std::string>& notes() const override { return stages_.notes; }

 private:
  // Tokens of one text, with spans in its code points.
  std::vector<Piece> tokenize(std::string_view text) const;
  void tokenize_plain(std::u32string_view text, int32_t shift, std::vector<Piece>& pieces) const;
  void tokenize_segment(AlignedText text, bool begins_input, std::vector<Piece>& pieces) const;
  void add_token(int32_t id, std::u32string_view found, Span span,
                 std::vector<Piece>& pieces) const;
  Span trimmed(const Piece& piece, bool is_first) const;
  // Tokens that fit into a window beside the special tokens.
  int64_t room(const TokenizerOptions& options, bool is_pair) const;
  Encoding assemble(const std::vector<Piece>& first, const std::vector<Piece>& second,
                    const Window& window, const std::vector<TemplatePart>& parts,
                    bool special_tokens) const;

  TokenizerStages stages_;
  AddedTokens added_;
  std::vector<Blanks> blanks_;  // by id, where offsets are trimmed
};

}  // namespace quell
