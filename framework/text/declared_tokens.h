// Tokens that a folder declares beside its vocabulary, collected as transformers 5.24 collects
// them.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "framework/text/added_tokens.h"
#include "framework/text/tokenizer_files.h"

namespace quell {

// The text of a special token where no file names another: role ("cls_token"), text. In the order
// in which they are added.
using SpecialTokenDefaults = std::vector<std::pair<std::string, std::string>>;

class TokenAdder;

class DeclaredTokens {
 public:
  // From tokenizer_config.json; where that has no added_tokens_decoder, also from
  // special_tokens_map.json, added_tokens.json and the added tokens of `tokenizer_json`, if given.
  DeclaredTokens(const TokenizerSettings& settings, const std::optional<JsonView>& tokenizer_json);

  // Of a role: the text that files give, else that of `defaults`, else nothing. Throws DataError
  // when files give null although `defaults` has one.
  std::optional<std::string> text(const std::string& role,
                                  const SpecialTokenDefaults& defaults = {}) const;
  // Whether a file names the role, null included.
  bool names(const std::string& role) const { return named_.contains(role); }
  // Whether a file gives the token an id beside the vocabulary.
  bool is_added(const std::string& content) const;

  // Gives every token an id: that of the vocabulary, or the next free one, in transformers' order.
  // Throws DataError where a file declares another id.
  void add_to(TokenizerStages& stages, const SpecialTokenDefaults& defaults) const;

 private:
  void add_default(AddedToken token, TokenizerStages& stages, TokenAdder& adder) const;
  void read_named(const JsonView& file, bool always_special);
  void read_extra(const JsonView& list, bool always_special);
  void read_model_specific(const JsonView& object, bool always_special);
  // Among the roles that every tokenizer may have; among all.
  bool has_common_role(const std::string& content, const SpecialTokenDefaults& defaults) const;
  bool is_named(const std::string& content, const SpecialTokenDefaults& defaults) const;

  std::string source_, source_of_ids_;                      // files that errors name
  std::vector<AddedToken> with_ids_;                        // by id
  std::map<std::string, std::optional<AddedToken>> named_;  // by role; null where a file says null
  std::vector<AddedToken> model_specific_;                  // of roles such as "image_token"
  std::optional<std::vector<AddedToken>> extra_;
};

// Gives one token after another an id.
class TokenAdder {
 public:
  explicit TokenAdder(TokenizerStages& stages)
      : stages_(stages), first_free_(static_cast<int32_t>(stages.vocabulary.size())) {}

  // The id of a token that the vocabulary lacks: transformers counts the tokens, so that where ids
  // have gaps another token may have it.
  int32_t next_id() const;
  // The id of the vocabulary, or the next free one. Of two tokens with one text the last counts.
  // Throws DataError, which names `source`, when `declared` is another one.
  int32_t add(AddedToken token, std::optional<int32_t> declared, const std::string& source);

 private:
  TokenizerStages& stages_;
  int32_t first_free_;
};

}  // namespace quell
