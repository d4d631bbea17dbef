#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "framework/base/error.h"
#include "framework/text/tokenizer_files.h"
#include "framework/text/tokenizer_keys.h"

namespace quell {
namespace {

// Models that number the positions of a sequence from its first token that is no padding.
constexpr std::array<std::string_view, 5> kPaddedAnywhere = {"roberta", "opt", "bloom", "llama",
                                                             "mistral"};

std::string as_lowercase(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return text;
}

}  // namespace

TokenizerSettings TokenizerSettings::read(const std::filesystem::path& folder) {
  TokenizerSettings settings;
  settings.folder_ = folder;
  settings.model_config_ = read_if_there(folder / "config.json");
  settings.config_ = read_if_there(folder / "tokenizer_config.json");
  settings.special_tokens_map_ = read_if_there(folder / "special_tokens_map.json");
  settings.added_tokens_json_ = read_if_there(folder / "added_tokens.json");
  if (settings.config_) check_tokenizer_config(*settings.config_, settings.notes_);
  const bool is_used = !settings.config_ || !settings.config_->contains("added_tokens_decoder");
  if (settings.special_tokens_map_ && is_used) {
    check_special_tokens_map(*settings.special_tokens_map_, settings.notes_);
  }
  return settings;
}

std::optional<std::string> TokenizerSettings::tokenizer_class() const {
  const auto own = config_ ? config_->find("tokenizer_class") : std::nullopt;
  if (own && !own->as_string().empty()) return own->as_string();
  const auto of_model = model_config_ ? model_config_->find("tokenizer_class") : std::nullopt;
  const bool is_there = of_model && !of_model->as_string().empty();
  if (own && is_there) own->fail("is empty, but config.json has one; remove one of the two");
  if (is_there) return of_model->as_string();
  // An empty name is one that transformers does not find, not one that is missing.
  return own || of_model ? std::optional<std::string>("") : std::nullopt;
}

std::optional<std::string> TokenizerSettings::model_type() const {
  const auto found = model_config_ ? model_config_->find("model_type") : std::nullopt;
  if (!found) return std::nullopt;
  return found->as_string();
}

std::optional<int64_t> TokenizerSettings::model_max_length() const {
  if (!config_) return std::nullopt;
  const bool is_there = config_->contains("model_max_length");
  const auto found = config_->find(is_there ? "model_max_length" : "max_len");
  if (!found) return std::nullopt;
  constexpr double kUnlimited = 1e9;
  if (found->value().is_number() && found->value().get<double>() > kUnlimited) return std::nullopt;
  return found->as_integer(1, static_cast<int64_t>(kUnlimited));
}

bool TokenizerSettings::has_types(bool otherwise) const {
  const auto names = config_ ? config_->find("model_input_names") : std::nullopt;
  if (!names) return otherwise;
  bool found = false;
  for (size_t i = 0; i < names->size(); ++i) {
    found |= names->at(i).as_string() == "token_type_ids";
  }
  return found;
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

void TokenizerSettings::check_sides(const std::optional<JsonView>& tokenizer_json) const {
  const auto side_of = [&](const char* key, const char* part) -> std::optional<JsonView> {
    if (config_ && config_->contains(key)) return config_->at(key);
    const auto stored = tokenizer_json ? tokenizer_json->find(part) : std::nullopt;
    return stored ? stored->find("direction") : std::nullopt;
  };
  const auto truncation = side_of("truncation_side", "truncation");
  if (truncation && as_lowercase(truncation->as_string()) != "right") {
    truncation->fail(fmt::format("\"{}\" is not supported; texts are cut on the right",
                                 truncation->as_string()));
  }
  const auto padding = side_of("padding_side", "padding");
  const auto type = model_type();
  if (!padding || !type || as_lowercase(padding->as_string()) == "right") return;
  if (std::find(kPaddedAnywhere.begin(), kPaddedAnywhere.end(), *type) != kPaddedAnywhere.end()) {
    return;
  }
  padding->fail(fmt::format(
      "\"{}\" is not supported for a {}, whose positions would follow from the padding; texts are "
      "padded on the right",
      padding->as_string(), *type));
}

bool file_exists(const std::filesystem::path& file) {
  std::error_code error;  // without it, a folder that may not be searched throws
  return std::filesystem::exists(file, error);
}

std::optional<JsonView> read_if_there(const std::filesystem::path& file) {
  if (!file_exists(file)) return std::nullopt;
  return JsonView::read(file);
}

AddedToken read_added_token(const JsonView& entry, bool always_special) {
  AddedToken token;
  token.content = entry.at("content").as_string();
  if (token.content.empty()) entry.fail("\"content\" is empty");
  token.special = always_special || entry.get_bool("special", false);
  token.normalized = entry.get_bool("normalized", !token.special);
  token.single_word = entry.get_bool("single_word", false);
  token.strip_left = entry.get_bool("lstrip", false);
  token.strip_right = entry.get_bool("rstrip", false);
  return token;
}

}  // namespace quell
