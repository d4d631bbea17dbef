#include <fmt/format.h>

#include "framework/base/error.h"
#include "framework/text/tokenizer_files.h"

namespace quell {
namespace {

std::optional<JsonView> read_if_there(const std::filesystem::path& file) {
  if (!file_exists(file)) return std::nullopt;
  return JsonView::read(file);
}

// A special token is a string, or an object with its "content".
std::optional<std::string> token_text(const std::optional<JsonView>& settings,
                                      const std::string& role) {
  const auto found = settings ? settings->find(role) : std::nullopt;
  if (!found) return std::nullopt;
  return found->value().is_object() ? found->at("content").as_string() : found->as_string();
}

int32_t parse_id(const JsonView& table, const std::string& text) {
  const bool digits = !text.empty() && text.size() <= 8 &&
                      text.find_first_not_of("0123456789") == std::string::npos;
  if (!digits || std::stoll(text) > kLargestTokenId) {
    table.fail(fmt::format("\"{}\" is not a token id", text));
  }
  return static_cast<int32_t>(std::stoll(text));
}

}  // namespace

TokenizerSettings TokenizerSettings::read(const std::filesystem::path& folder) {
  TokenizerSettings settings;
  settings.config_ = read_if_there(folder / "tokenizer_config.json");
  settings.special_tokens_map_ = read_if_there(folder / "special_tokens_map.json");
  const auto side = settings.config_ ? settings.config_->find("truncation_side") : std::nullopt;
  if (side && side->as_string() != "right") {
    side->fail(
        fmt::format("\"{}\" is not supported; texts are cut on the right", side->as_string()));
  }
  return settings;
}

std::optional<std::string> TokenizerSettings::special_token(const std::string& role) const {
  if (auto text = token_text(config_, role)) return text;
  return token_text(special_tokens_map_, role);
}

std::optional<std::string> TokenizerSettings::tokenizer_class() const {
  const auto found = config_ ? config_->find("tokenizer_class") : std::nullopt;
  if (!found) return std::nullopt;
  return found->as_string();
}

std::optional<int64_t> TokenizerSettings::model_max_length() const {
  const auto found = config_ ? config_->find("model_max_length") : std::nullopt;
  if (!found) return std::nullopt;
  constexpr double kUnlimited = 1e9;
  if (found->value().is_number() && found->value().get<double>() > kUnlimited) return std::nullopt;
  return found->as_integer(1, static_cast<int64_t>(kUnlimited));
}

void TokenizerSettings::apply_to(BertNormalizerOptions& options) const {
  if (!config_) return;
  options.lowercase = config_->get_bool("do_lower_case", options.lowercase);
  options.space_chinese = config_->get_bool("tokenize_chinese_chars", options.space_chinese);
  if (config_->contains("strip_accents")) {
    const auto strip = config_->find("strip_accents");
    options.strip_accents = strip ? std::optional<bool>(strip->as_bool()) : std::nullopt;
  }
}

bool TokenizerSettings::flag(const std::string& key, bool otherwise) const {
  return config_ ? config_->get_bool(key, otherwise) : otherwise;
}

std::vector<AddedToken> TokenizerSettings::added_tokens() const {
  std::vector<AddedToken> tokens;
  const auto table = config_ ? config_->find("added_tokens_decoder") : std::nullopt;
  if (!table) return tokens;
  if (!table->value().is_object()) table->fail("expected an object from ids to tokens");
  for (const auto& [id, entry] : table->value().items()) {
    AddedToken token = read_added_token(table->at(id));
    token.id = parse_id(*table, id);
    tokens.push_back(std::move(token));
  }
  return tokens;
}

bool file_exists(const std::filesystem::path& file) {
  std::error_code error;  // without it, a folder that may not be searched throws
  return std::filesystem::exists(file, error);
}

AddedToken read_added_token(const JsonView& entry) {
  AddedToken token;
  token.content = entry.at("content").as_string();
  if (token.content.empty()) entry.fail("\"content\" is empty");
  token.special = entry.get_bool("special", false);
  token.normalized = entry.get_bool("normalized", !token.special);
  token.single_word = entry.get_bool("single_word", false);
  token.strip_left = entry.get_bool("lstrip", false);
  token.strip_right = entry.get_bool("rstrip", false);
  return token;
}

void add_to_vocabulary(Vocabulary& vocabulary, const std::vector<AddedToken>& tokens,
                       const std::filesystem::path& source) {
  for (const AddedToken& token : tokens) {
    const auto known = vocabulary.find(token.content);
    if (known == token.id || vocabulary.add(token.content, token.id)) continue;
    const auto other = vocabulary.token(token.id);
    throw DataError(
        fmt::format("{}: the added token \"{}\" has id {}, but {}; give each token one id",
                    source.string(), token.content, token.id,
                    known ? fmt::format("the vocabulary has it as {}", *known)
                          : fmt::format("that id belongs to \"{}\"", other.value_or(""))));
  }
}

}  // namespace quell
