#include "framework/text/normalizers.h"

#include <algorithm>

namespace quell {
namespace {

// A character of the result. `change` is how the Hugging Face library counts: it stands for one
// character of the text and -change more; with change 1 it is new, and belongs to the one before.
struct Part {
  char32_t c;
  int change;
  int combining_class;
};

std::vector<Part> decomposed_parts(std::u32string_view text, unicode::Decomposition decomposition) {
  std::vector<Part> parts;
  parts.reserve(text.size());
  std::u32string characters;
  for (const char32_t c : text) {
    characters.clear();
    unicode::append_decomposition(c, characters, decomposition);
    for (size_t k = 0; k < characters.size(); ++k) {
      parts.push_back({characters[k], k == 0 ? 0 : 1, unicode::combining_class(characters[k])});
    }
  }
  // Canonical order of the marks between two starters.
  for (auto part = parts.begin(); part != parts.end();) {
    const auto is_starter = [](const Part& p) { return p.combining_class == 0; };
    const auto first = std::find_if_not(part, parts.end(), is_starter);
    part = std::find_if(first, parts.end(), is_starter);
    std::stable_sort(first, part, [](const Part& a, const Part& b) {
      return a.combining_class < b.combining_class;
    });
  }
  return parts;
}

// Canonical composition of decomposed text (UAX 15).
std::vector<Part> composed_parts(const std::vector<Part>& parts) {
  std::vector<Part> out;
  std::optional<size_t> starter;  // in `out`
  int last_class = -1;            // of what stands behind the starter, -1 where nothing does
  for (const Part& part : parts) {
    const bool blocked = last_class >= part.combining_class;
    if (starter && !blocked) {
      if (const auto composed = unicode::compose(out[*starter].c, part.c)) {
        out[*starter].c = *composed;
        out[*starter].change += part.change - 1;
        continue;
      }
    }
    if (part.combining_class == 0) {
      starter = out.size();
      last_class = -1;
    } else {
      last_class = part.combining_class;
    }
    out.push_back(part);
  }
  return out;
}

void transform(AlignedText& text, const std::vector<Part>& parts) {
  AlignedText out;
  out.text.reserve(parts.size());
  out.source.reserve(parts.size());
  size_t used = 0;
  for (const Part& part : parts) {
    const bool is_new = part.change > 0;
    const size_t at = is_new ? std::max<size_t>(used, 1) - 1 : used;
    out.text.push_back(part.c);
    out.source.push_back(text.source[std::min(at, text.source.size() - 1)]);
    if (!is_new) used += 1 + static_cast<size_t>(-part.change);
  }
  text = std::move(out);
}

// Nothing below U+00A0 decomposes, composes or is a mark.
bool is_simple(const AlignedText& text) {
  return std::all_of(text.text.begin(), text.text.end(), [](char32_t c) { return c < 0xA0; });
}

}  // namespace

void decompose(AlignedText& text, unicode::Decomposition decomposition) {
  if (!is_simple(text)) transform(text, decomposed_parts(text.text, decomposition));
}

void lowercase(AlignedText& text) {
  AlignedText out;
  out.text.reserve(text.text.size());
  out.source.reserve(text.text.size());
  for (size_t i = 0; i < text.text.size(); ++i) {
    unicode::append_lowercase(text.text[i], out.text);
    out.source.resize(out.text.size(), text.source[i]);
  }
  text = std::move(out);
}

void NormalizerSequence::normalize(AlignedText& text) const {
  for (const auto& step : steps_) step->normalize(text);
}

void UnicodeNormalizer::normalize(AlignedText& text) const {
  if (is_simple(text)) return;
  std::vector<Part> parts = decomposed_parts(text.text, decomposition_);
  transform(text, compose_ ? composed_parts(parts) : parts);
}

void LowercaseNormalizer::normalize(AlignedText& text) const { lowercase(text); }

void StripAccentsNormalizer::normalize(AlignedText& text) const {
  keep_if(text, [](char32_t c) { return !unicode::is_mark(c); });
}

void StripNormalizer::normalize(AlignedText& text) const {
  size_t begin = 0, end = text.text.size();
  while (left_ && begin < end && unicode::is_whitespace(text.text[begin])) ++begin;
  while (right_ && end > begin && unicode::is_whitespace(text.text[end - 1])) --end;
  text.text = text.text.substr(begin, end - begin);
  text.source = {text.source.begin() + static_cast<int64_t>(begin),
                 text.source.begin() + static_cast<int64_t>(end)};
}

void ReplaceNormalizer::normalize(AlignedText& text) const {
  std::vector<Span> matches;
  pattern_->find(text.text, matches);
  if (matches.empty()) return;
  AlignedText out;
  int32_t done = 0;
  const auto copy_to = [&](int32_t end) {
    const auto from = static_cast<size_t>(done), count = static_cast<size_t>(end - done);
    out.text.append(text.text, from, count);
    out.source.insert(out.source.end(), text.source.begin() + done, text.source.begin() + end);
  };
  for (const Span& match : matches) {
    copy_to(match.begin);
    // What is put in belongs to the last character that it replaces.
    const auto last = static_cast<size_t>(std::max(match.end, 1) - 1);
    out.text += content_;
    out.source.resize(out.text.size(), text.source.empty() ? 0 : text.source[last]);
    done = match.end;
  }
  copy_to(static_cast<int32_t>(text.text.size()));
  text = std::move(out);
}

void PrependNormalizer::normalize(AlignedText& text) const {
  if (text.text.empty()) return;
  text.text.insert(0, content_);
  text.source.insert(text.source.begin(), content_.size(), text.source.front());
}

}  // namespace quell
