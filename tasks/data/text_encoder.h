// Texts for language models: tokens, and the start token in front of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "framework/config/schema.h"
#include "framework/task/task.h"

namespace quell {

// What stands in front of a text. lm-evaluation-harness left it out up to 0.4.9.1, and leaves it to
// the tokenizer since then.
enum class StartToken {
  kTokenizer,  // what the tokenizer adds by itself
  kNever,
  kAlways,  // the prefix token
};

template <>
struct EnumNames<StartToken> {
  static constexpr std::pair<const char*, StartToken> values[] = {
      {"tokenizer", StartToken::kTokenizer},
      {"never", StartToken::kNever},
      {"always", StartToken::kAlways}};
};

// The release whose rules prompts, encoding and sums follow.
inline constexpr const char* kHarness = "lm-evaluation-harness 0.4.13";

class TextEncoder {
 public:
  // `prefix`: in place of the tokenizer's BOS, or EOS where it has no BOS. Throws ConfigError when
  // the model does not embed it.
  TextEncoder(const TaskContext& context, StartToken start, std::optional<int64_t> prefix);

  // With the start token, which never stands twice: where the text itself begins with it, nothing
  // is added.
  std::vector<int64_t> encode(std::string_view text) const;
  std::vector<int64_t> encode_plain(std::string_view text) const;
  // What stands in for an empty context. Throws ConfigError where the tokenizer names none.
  int64_t prefix() const;
  // As the harness writes it: "tokenizer".
  std::string rule() const;

 private:
  const Tokenizer& tokenizer_;
  StartToken start_;
  std::optional<int64_t> prefix_;
  std::string prefix_text_;
};

// Throws as check_model_fits() does, and ConfigError where the model is no decoder alone.
void check_language_model(const TaskContext& context, const std::string& task,
                          const std::string& length_key, int64_t length);

// The longest input as lm-evaluation-harness finds it: n_positions, max_position_embeddings or
// n_ctx of config.json, else the tokenizer's model_max_length, else 2048; at most what the model
// takes.
int64_t usual_length(const TaskContext& context);

}  // namespace quell
