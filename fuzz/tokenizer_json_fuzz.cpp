#include "framework/text/tokenizer.h"
#include "fuzz/fuzz.h"

QUELL_FUZZ(tokenizer_json) {
  const auto tokenizer = quell::load_tokenizer(
      quell::fuzz::as_folder(input, {"tokenizer.json", "tokenizer_config.json"}));
  quell::TokenizerOptions options;
  options.max_length = 8;
  const auto windows = tokenizer->encode("Don't <mask> a naïve\u00a0word 12!", "東京", options);
  tokenizer->decode(windows.front().ids, /*skip_special_tokens=*/false);
}
