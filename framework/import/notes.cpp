#include "framework/import/notes.h"

#include <fmt/format.h>
#include <algorithm>

namespace quell {
namespace {

struct Headline {
  ImportNote::Kind kind;
  const char* name;
  const char* text;
};

constexpr Headline kHeadlines[] = {
    {ImportNote::Kind::kToSet, "to_set", "to be set by you"},
    {ImportNote::Kind::kDifference, "difference", "not as in the published code"},
    {ImportNote::Kind::kUnknown, "unknown", "unknown keys, which the published code ignores, too"},
    {ImportNote::Kind::kNoEffect, "no_effect", "keys without an effect in quell"}};

}  // namespace

const char* to_string(ImportNote::Kind kind) {
  const auto* found = std::find_if(std::begin(kHeadlines), std::end(kHeadlines),
                                   [&](const Headline& headline) { return headline.kind == kind; });
  return found->name;
}

std::string to_text(const ImportNotes& notes) {
  std::string text;
  for (const Headline& headline : kHeadlines) {
    bool first = true;
    for (const ImportNote& note : notes) {
      if (note.kind != headline.kind) continue;
      if (first) text += fmt::format("{}:\n", headline.text);
      first = false;
      text += fmt::format("  {}\n", note.text);
    }
  }
  return text;
}

}  // namespace quell
