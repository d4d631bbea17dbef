// How transformers builds the tokenizer of a folder: some of its classes take tokenizer.json as it
// is, others take the vocabulary alone and put the stages together themselves.
#pragma once

#include <string>

namespace quell {

class TokenizerSettings;

enum class TokenizerBuild { kAsStored, kBert, kRoberta, kGpt2, kLlama };

struct TokenizerClass {
  std::string name;  // empty: no file says it
  TokenizerBuild build = TokenizerBuild::kAsStored;
  bool has_types = true;  // gives the model token types unless model_input_names says otherwise
};

// By tokenizer_class of tokenizer_config.json or config.json and by model_type, as AutoTokenizer of
// transformers 5.24 chooses. Throws DataError for a class that builds in a way that quell lacks.
TokenizerClass choose_tokenizer_class(const TokenizerSettings& settings);

}  // namespace quell
