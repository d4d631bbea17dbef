// What quell does with the keys of a folder's tokenizer files, and the checks of these files. Every
// check throws DataError for a value that is not supported and adds unknown keys to `notes`.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "framework/base/known_keys.h"
#include "framework/text/json_view.h"

namespace quell {

std::span<const KeyTable> tokenizer_key_tables();

void check_tokenizer_config(const JsonView& file, std::vector<std::string>& notes);
void check_special_tokens_map(const JsonView& file, std::vector<std::string>& notes);
// Top level, added tokens, model and all parts of tokenizer.json.
void check_tokenizer_json(const JsonView& file, std::vector<std::string>& notes);

}  // namespace quell
