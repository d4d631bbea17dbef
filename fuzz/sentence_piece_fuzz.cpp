// tokenizer.model, alone in a folder.
#include "framework/text/tokenizer.h"
#include "fuzz/fuzz.h"

QUELL_FUZZ(sentence_piece) {
  const auto file = quell::fuzz::as_file(input, "tokenizer.model");
  const auto tokenizer = quell::load_tokenizer(file.parent_path());
  const auto windows = tokenizer->encode("Don't a naïve word 12!", std::nullopt, {});
  tokenizer->decode(windows.front().ids, /*skip_special_tokens=*/true);
}
