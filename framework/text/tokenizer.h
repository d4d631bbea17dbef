// Text to token ids, with offsets into the text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quell {

enum class Truncation { kLongestFirst, kOnlyFirst, kOnlySecond };

struct TokenizerOptions {
  bool special_tokens = true;         // add [CLS], [SEP] and the like
  std::optional<int64_t> max_length;  // in tokens, special tokens included
  Truncation truncation = Truncation::kLongestFirst;
  int64_t stride = 0;     // overlap of neighbouring windows, in tokens
  bool overflow = false;  // all windows, not only the first
};

// One window of a tokenized text or pair.
struct Encoding {
  std::vector<int64_t> ids;
  std::vector<int64_t> type_ids;    // segment of each token; 0 if the model is told none
  std::vector<std::string> tokens;  // as in the vocabulary
  // Half-open span of each token in Unicode code points of its text; [0, 0) for the special tokens
  // that were added around the texts.
  std::vector<std::pair<int64_t, int64_t>> offsets;
  std::vector<int> sequence;  // -1 special token, 0 first text, 1 second text
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // `text` and `pair` are UTF-8; every maximal invalid part counts as one U+FFFD. Returns at least
  // one window; an empty pair is a pair. Throws DataError when the text that `truncation` names is
  // too short to be cut, and ConfigError for options that fit no text.
  virtual std::vector<Encoding> encode(std::string_view text, std::optional<std::string_view> pair,
                                       const TokenizerOptions& options) const = 0;

  // UTF-8 text of the ids; ids outside the vocabulary are left out.
  virtual std::string decode(const std::vector<int64_t>& ids, bool skip_special_tokens) const = 0;

  // Number of different tokens.
  virtual int64_t vocabulary_size() const = 0;
  // Largest id of a token that is not special; a model's embedding table needs one row more.
  virtual int64_t largest_id() const = 0;
  virtual int64_t pad_id() const = 0;
  // The tokens that the files name as begin and end of a text, where they name some.
  virtual std::optional<int64_t> bos_id() const { return std::nullopt; }
  virtual std::optional<int64_t> eos_id() const { return std::nullopt; }
  // The model_max_length of tokenizer_config.json, absent when unlimited.
  virtual std::optional<int64_t> model_max_length() const = 0;
  // What a user should know of the files, one line each: keys that nobody knows.
  virtual const std::vector<std::string>& notes() const = 0;
};

// The tokenizer of a Hugging Face model folder as transformers 5.24 builds it: tokenizer.json, or
// vocab.txt (BERT) or vocab.json and merges.txt (RoBERTa, BART, GPT-2), with what
// tokenizer_config.json, special_tokens_map.json, added_tokens.json and config.json say of it.
// Throws DataError naming the file and what is not supported.
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& folder);

}  // namespace quell
