// Tables of the keys that other programs write into their files, and what quell does with each, so
// that no key that changes a result there is skipped here without a word.
#pragma once

#include <initializer_list>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quell {

enum class KeyStatus {
  kHonoured,  // every value has the effect that it has there, or is an error where it is read
  kOnly,      // so for the values in `values`; any other is an error
  kNoEffect,  // whatever its value, results here are the same
};

struct KnownKey {
  std::string_view name;  // a `*` at an end stands for anything
  KeyStatus status;
  std::string_view values = "";  // kOnly: a JSON list; null stands in it if null is accepted
  // kOnly: the way out of the error. kNoEffect: why. kHonoured: what it does, where that helps.
  std::string_view note = "";
};

// The keys of one kind of file. Tables are static data.
struct KeyTable {
  std::string_view title;  // of its section in docs/keys.md, e.g. "config.json: BERT"
  std::span<const KnownKey> keys;
};

// Compares the members of `object` with tables, of which the first that knows a key decides.
// Absent keys are not looked at. Throws DataError that lists every refused value: file, key, what
// was found, what is expected, the way out. Appends one line to `notes`, for the log, that names
// the keys which no table has. `file` may end in a path inside of the file and a dot, such as
// "tokenizer.json: model.".
void check_keys(const nlohmann::json& object, std::initializer_list<KeyTable> tables,
                const std::string& file, std::vector<std::string>& notes);

// One section per table for docs/keys.md, with a summary of how many keys are honoured, honoured at
// some values, and without effect.
std::string keys_markdown(std::span<const KeyTable> tables);

}  // namespace quell
