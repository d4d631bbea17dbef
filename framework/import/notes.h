// What an import has to tell besides its result.
#pragma once

#include <string>
#include <vector>

namespace quell {

struct ImportNote {
  enum class Kind {
    kToSet,       // the user has to fill something in
    kDifference,  // the published code and quell do not do the same
    kUnknown,     // a key that nobody knows
    kNoEffect,    // keys that mean nothing to quell, with the reason
  };
  Kind kind;
  std::string text;
};

using ImportNotes = std::vector<ImportNote>;

// Name of a kind for machines: "to_set", "difference", "unknown", "no_effect".
const char* to_string(ImportNote::Kind kind);

// All notes for people, sorted by kind under a headline each. Empty without notes.
std::string to_text(const ImportNotes& notes);

}  // namespace quell
