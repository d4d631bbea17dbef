#include "tasks/data/text_encoder.h"

#include <fmt/format.h>
#include <algorithm>

#include "framework/base/error.h"
#include "framework/config/enum_name.h"
#include "tasks/data/model_fit.h"

namespace quell {

TextEncoder::TextEncoder(const TaskContext& context, StartToken start,
                         std::optional<int64_t> prefix)
    : tokenizer_(*context.tokenizer), start_(start), prefix_(prefix) {
  if (!prefix_) prefix_ = tokenizer_.bos_id();
  if (!prefix_) prefix_ = tokenizer_.eos_id();
  if (!prefix_) return;
  if (*prefix_ >= context.vocabulary_size) {
    throw ConfigError(fmt::format(
        "the start token has the id {}, but the model embeds only {} tokens; set task.prefix_token",
        *prefix_, context.vocabulary_size));
  }
  prefix_text_ = tokenizer_.decode({*prefix_}, /*skip_special_tokens=*/false);
}

std::vector<int64_t> TextEncoder::encode(std::string_view text) const {
  const bool begins = !prefix_text_.empty() && text.starts_with(prefix_text_);
  if (begins || start_ == StartToken::kNever) return encode_plain(text);
  std::vector<int64_t> ids = tokenizer_.encode(text, std::nullopt, {}).front().ids;
  if (start_ == StartToken::kAlways && (ids.empty() || ids.front() != prefix())) {
    ids.insert(ids.begin(), prefix());
  }
  return ids;
}

std::vector<int64_t> TextEncoder::encode_plain(std::string_view text) const {
  return tokenizer_.encode(text, std::nullopt, {.special_tokens = false}).front().ids;
}

int64_t TextEncoder::prefix() const {
  if (prefix_) return *prefix_;
  throw ConfigError(
      "the files of the tokenizer name neither bos_token nor eos_token; set task.prefix_token to "
      "the id of the token that texts begin with");
}

std::string TextEncoder::rule() const { return enum_name(start_); }

void check_language_model(const TaskContext& context, const std::string& task,
                          const std::string& length_key, int64_t length) {
  if (!context.is_language_model) {
    throw ConfigError(fmt::format(
        "the model is no decoder that predicts the next token; task {} needs one, such as llama, "
        "opt, gpt2, bloom or gpt_neox",
        task));
  }
  check_model_fits(context, task, length_key, length);
}

int64_t usual_length(const TaskContext& context) {
  constexpr int64_t kUnknown = 2048;
  for (const char* key : {"n_positions", "max_position_embeddings", "n_ctx"}) {
    const auto found = context.model_config->find(key);
    if (found == context.model_config->end() || !found->is_number_integer()) continue;
    return std::min(found->get<int64_t>(), context.max_positions);
  }
  const auto most = context.tokenizer != nullptr ? context.tokenizer->model_max_length()
                                                 : std::optional<int64_t>();
  return std::min(most.value_or(kUnknown), context.max_positions);
}

}  // namespace quell
