// What quell does with the keys of a model folder's config.json and generation_config.json, as
// Hugging Face transformers 5.24 and 4.57 know them.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "framework/base/known_keys.h"

namespace quell {

class Checkpoint;

// Of all files and families, for docs/keys.md.
std::vector<KeyTable> config_key_tables();

// How texts are written: generation_config.json, or config.json where that does not exist.
KeyTable generation_key_table();

// Checks config.json of a checkpoint against the table of a family ("bert", "roberta",
// "distilbert", "electra", "mobilebert", "bart" or that of a language model). Keys of generation do
// not count here. Throws DataError that lists refused values; unknown keys become a note of the
// checkpoint.
void check_config_keys(const Checkpoint& checkpoint, std::string_view family);

}  // namespace quell
