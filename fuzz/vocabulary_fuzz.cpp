// The files of older folders: vocab.txt, or vocab.json and merges.txt.
#include "framework/text/tokenizer.h"
#include "fuzz/fuzz.h"

QUELL_FUZZ(vocabulary) {
  std::vector<std::string> names = {"vocab.txt", "tokenizer_config.json"};
  if (input.starts_with('{')) names = {"vocab.json", "merges.txt", "tokenizer_config.json"};
  const auto tokenizer = quell::load_tokenizer(quell::fuzz::as_folder(input, names));
  const auto windows = tokenizer->encode("Don't a naïve word 12!", std::nullopt, {});
  tokenizer->decode(windows.front().ids, /*skip_special_tokens=*/true);
}
