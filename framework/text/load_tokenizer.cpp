#include <fmt/format.h>

#include "framework/base/error.h"
#include "framework/text/tokenizer_files.h"

namespace quell {

std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& folder) {
  if (file_exists(folder / "tokenizer.json")) {
    return std::make_unique<TokenizerPipeline>(stages_from_tokenizer_json(folder));
  }
  if (file_exists(folder / "vocab.txt")) {
    return std::make_unique<TokenizerPipeline>(stages_from_vocab_txt(folder));
  }
  if (file_exists(folder / "vocab.json") && file_exists(folder / "merges.txt")) {
    return std::make_unique<TokenizerPipeline>(stages_from_vocab_json(folder));
  }
  throw DataError(fmt::format(
      "{}: no tokenizer here: expected tokenizer.json, or vocab.txt, or vocab.json and merges.txt, "
      "with tokenizer_config.json; "
      "store them with transformers' save_pretrained",
      folder.string()));
}

}  // namespace quell
