#include "framework/text/declared_tokens.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "framework/base/error.h"

namespace quell {
namespace {

// The roles that every tokenizer may have, in the order in which their tokens are added.
constexpr std::array<const char*, 7> kRoles = {"bos_token", "eos_token", "unk_token", "sep_token",
                                               "pad_token", "cls_token", "mask_token"};

bool is_common_role(std::string_view key) {
  return std::find(kRoles.begin(), kRoles.end(), key) != kRoles.end();
}

// A token by its text alone is special and looked for in the original text.
AddedToken special_token(std::string content) {
  return {.content = std::move(content), .special = true};
}

// A text, or an object with "content" and flags.
AddedToken read_token(const JsonView& value, bool always_special) {
  if (value.value().is_string()) return special_token(value.as_string());
  return read_added_token(value, always_special);
}

template <class Tokens>
bool has_content(const Tokens& tokens, const std::string& content) {
  return std::any_of(tokens.begin(), tokens.end(),
                     [&](const AddedToken& token) { return token.content == content; });
}

int32_t parse_id(const JsonView& table, const std::string& text) {
  const bool digits = !text.empty() && text.size() <= 8 &&
                      text.find_first_not_of("0123456789") == std::string::npos;
  if (!digits || std::stoll(text) > kLargestTokenId) {
    table.fail(fmt::format("\"{}\" is not a token id", text));
  }
  return static_cast<int32_t>(std::stoll(text));
}

void put(std::vector<AddedToken>& by_id, AddedToken token) {
  const auto at = std::lower_bound(by_id.begin(), by_id.end(), token.id,
                                   [](const AddedToken& one, int32_t id) { return one.id < id; });
  if (at != by_id.end() && at->id == token.id) {
    *at = std::move(token);
  } else {
    by_id.insert(at, std::move(token));
  }
}

}  // namespace

void DeclaredTokens::read_named(const JsonView& file, bool always_special) {
  for (const char* role : kRoles) {
    if (!file.contains(role)) continue;
    const auto value = file.find(role);
    named_[role] = value ? std::optional(read_token(*value, always_special)) : std::nullopt;
  }
  for (const auto& [key, value] : file.value().items()) {
    const bool is_role = key.ends_with("_token") && !is_common_role(key);
    const bool is_token = value.is_string() || (value.is_object() && value.contains("content"));
    if (is_role && is_token) model_specific_.push_back(read_token(file.at(key), always_special));
  }
}

void DeclaredTokens::read_extra(const JsonView& list, bool always_special) {
  if (list.value().is_object()) return read_model_specific(list, always_special);
  if (!extra_) extra_.emplace();
  for (size_t i = 0; i < list.size(); ++i) {
    AddedToken token = read_token(list.at(i), always_special);
    if (!has_content(*extra_, token.content)) extra_->push_back(std::move(token));
  }
}

void DeclaredTokens::read_model_specific(const JsonView& object, bool always_special) {
  for (const auto& [role, value] : object.value().items()) {
    model_specific_.push_back(read_token(object.at(role), always_special));
  }
}

DeclaredTokens::DeclaredTokens(const TokenizerSettings& settings,
                               const std::optional<JsonView>& tokenizer_json)
    : source_((settings.folder() / "tokenizer_config.json").string()), source_of_ids_(source_) {
  if (const auto& config = settings.config()) {
    read_named(*config, false);
    for (const char* key :
         {"extra_special_tokens", "model_specific_special_tokens", "additional_special_tokens"}) {
      const bool is_replaced =
          key == std::string("additional_special_tokens") && extra_ && !extra_->empty();
      if (const auto list = config->find(key); list && !is_replaced) read_extra(*list, false);
    }
    if (const auto table = config->find("added_tokens_decoder")) {
      if (!table->value().is_object()) table->fail("expected an object from ids to tokens");
      for (const auto& [id, entry] : table->value().items()) {
        AddedToken token = read_added_token(table->at(id));
        token.id = parse_id(*table, id);
        put(with_ids_, std::move(token));
      }
      return;  // the older files do not count then
    }
  }
  if (const auto& map = settings.special_tokens_map()) {
    read_named(*map, true);
    if (const auto list = map->find("extra_special_tokens")) read_extra(*list, true);
  }
  source_of_ids_ = (settings.folder() / "tokenizer.json").string();
  if (const auto& table = settings.added_tokens_json()) {
    source_of_ids_ = (settings.folder() / "added_tokens.json").string();
    for (const auto& [content, value] : table->value().items()) {
      AddedToken token{.content = content};
      token.special = has_common_role(content, {}) || (extra_ && has_content(*extra_, content));
      token.normalized = !token.special;
      token.id = static_cast<int32_t>(table->at(content).as_integer(0, kLargestTokenId));
      put(with_ids_, std::move(token));
    }
  }
  // Behind the tokens of added_tokens.json, which are not looked up among these.
  if (const auto& map = settings.special_tokens_map()) {
    const auto additional = map->find("additional_special_tokens");
    if (additional && !extra_) read_extra(*additional, true);
  }
  if (!tokenizer_json) return;
  for (AddedToken& token : read_added_tokens(*tokenizer_json)) put(with_ids_, std::move(token));
}

std::optional<std::string> DeclaredTokens::text(const std::string& role,
                                                const SpecialTokenDefaults& defaults) const {
  if (const auto found = named_.find(role); found != named_.end()) {
    return found->second ? std::optional(found->second->content) : std::nullopt;
  }
  for (const auto& [name, content] : defaults) {
    if (name == role) return content;
  }
  return std::nullopt;
}

bool DeclaredTokens::is_added(const std::string& content) const {
  return has_content(with_ids_, content);
}

bool DeclaredTokens::has_common_role(const std::string& content,
                                     const SpecialTokenDefaults& defaults) const {
  return std::any_of(kRoles.begin(), kRoles.end(),
                     [&](const char* role) { return text(role, defaults) == content; });
}

bool DeclaredTokens::is_named(const std::string& content,
                              const SpecialTokenDefaults& defaults) const {
  return has_content(model_specific_, content) || has_common_role(content, defaults);
}

void DeclaredTokens::add_to(TokenizerStages& stages, const SpecialTokenDefaults& defaults) const {
  TokenAdder adder(stages);
  for (AddedToken token : with_ids_) {
    token.special |= is_named(token.content, defaults);
    adder.add(token, token.id, source_of_ids_);
  }
  const auto add = [&](AddedToken token, bool is_name) {
    if (has_content(stages.added_tokens, token.content)) return false;
    const bool is_new = !stages.vocabulary.find(token.content);
    token.special |= is_name;
    adder.add(std::move(token), std::nullopt, source_);
    return is_new;
  };
  for (const char* role : kRoles) {
    const auto content = text(role, defaults);
    if (!content) continue;
    const auto found = named_.find(role);
    if (found != named_.end()) {
      add(*found->second, true);
    } else if (!has_content(stages.added_tokens, *content)) {
      add_default(special_token(*content), stages, adder);
    }
  }
  int new_tokens = 0;
  for (const AddedToken& token : model_specific_) new_tokens += add(token, true) ? 1 : 0;
  if (new_tokens > 1) {
    throw DataError(fmt::format(
        "{}: several tokens of roles of the model's own are not in the vocabulary, so that their "
        "ids follow from their order in the file, which is not supported; give them ids in "
        "added_tokens_decoder",
        source_));
  }
  for (const AddedToken& token : extra_.value_or(std::vector<AddedToken>{})) add(token, false);
}

// Nobody asked for this token, so that an id that is taken is no reason to refuse the folder.
void DeclaredTokens::add_default(AddedToken token, TokenizerStages& stages,
                                 TokenAdder& adder) const {
  const int32_t id = adder.next_id();
  const auto owner = stages.vocabulary.token(id);
  if (stages.vocabulary.find(token.content) || !owner) {
    adder.add(std::move(token), std::nullopt, source_);
    return;
  }
  stages.notes.push_back(
      fmt::format("{}: \"{}\" is not in the vocabulary and has the id {} of \"{}\", as in "
                  "transformers; keep it "
                  "out of the texts",
                  source_, token.content, id, *owner));
  token.id = id;
  stages.added_tokens.push_back(std::move(token));
}

int32_t TokenAdder::next_id() const {
  int32_t id = first_free_;
  for (const AddedToken& one : stages_.added_tokens) id = std::max(id, one.id + 1);
  return id;
}

int32_t TokenAdder::add(AddedToken token, std::optional<int32_t> declared,
                        const std::string& source) {
  Vocabulary& vocabulary = stages_.vocabulary;
  const auto known = vocabulary.find(token.content);
  const int32_t id = known.value_or(next_id());
  const auto owner = vocabulary.token(declared.value_or(id));
  const bool is_taken = owner && *owner != token.content;
  if (is_taken || declared.value_or(id) != id) {
    throw DataError(
        fmt::format("{}: the added token \"{}\" has id {}, but {}; give each token one id", source,
                    token.content, declared.value_or(id),
                    known      ? fmt::format("the vocabulary has it as {}", *known)
                    : is_taken ? fmt::format("that id belongs to \"{}\"", *owner)
                               : fmt::format("transformers gives it the next free one, {}", id)));
  }
  if (!known) vocabulary.add(token.content, id);
  token.id = id;
  auto& added = stages_.added_tokens;
  const auto same =
      std::find_if(added.begin(), added.end(), [&](const AddedToken& one) { return one.id == id; });
  if (same == added.end()) {
    added.push_back(std::move(token));
  } else {
    *same = std::move(token);
  }
  return id;
}

}  // namespace quell
