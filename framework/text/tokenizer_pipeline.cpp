#include "framework/text/tokenizer_pipeline.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "framework/base/error.h"
#include "framework/text/byte_level.h"
#include "framework/text/unicode.h"
#include "framework/text/word_piece.h"

namespace quell {
namespace {

int64_t added_by(const std::vector<TemplatePart>& parts) {
  int64_t count = 0;
  for (const TemplatePart& part : parts) count += static_cast<int64_t>(part.ids.size());
  return count;
}

std::u32string_view part_of(std::u32string_view text, Span span) {
  return text.substr(static_cast<size_t>(span.begin), static_cast<size_t>(span.end - span.begin));
}

Span source_span(const AlignedText& text, Span span) {
  return {text.source[static_cast<size_t>(span.begin)],
          text.source[static_cast<size_t>(span.end) - 1] + 1};
}

}  // namespace

TokenizerPipeline::TokenizerPipeline(TokenizerStages stages)
    : stages_(std::move(stages)),
      added_(stages_.added_tokens, stages_.normalizer.get(), stages_.splits_special) {
  if (!stages_.trim_offsets) return;
  for (int64_t id = 0; id <= stages_.vocabulary.largest_id(); ++id) {
    blanks_.push_back(blanks_of(unicode::decode_utf8(stages_.vocabulary.token(id).value_or(""))));
  }
}

// An added token takes white space along that its name does not have.
void TokenizerPipeline::add_token(int32_t id, std::u32string_view found, Span span,
                                  std::vector<Piece>& pieces) const {
  pieces.push_back({id, span, stages_.trim_offsets ? blanks_of(found) : Blanks{}});
}

// A text between added tokens.
void TokenizerPipeline::tokenize_segment(AlignedText text, bool begins_input,
                                         std::vector<Piece>& pieces) const {
  const auto size = static_cast<int32_t>(text.text.size());
  Words words{std::move(text), {{0, size}}, begins_input};
  if (stages_.pre_tokenizer) stages_.pre_tokenizer->split(words);
  for (const Span& word : words.spans) {
    const size_t before = pieces.size();
    stages_.model->tokenize(part_of(words.text.text, word), pieces);
    for (size_t i = before; i < pieces.size(); ++i) {
      Span& span = pieces[i].span;
      span = source_span(words.text, {span.begin + word.begin, span.end + word.begin});
      if (stages_.trim_offsets) pieces[i].blanks = blanks_[static_cast<size_t>(pieces[i].id)];
    }
  }
}

void TokenizerPipeline::tokenize_plain(std::u32string_view text, int32_t shift,
                                       std::vector<Piece>& pieces) const {
  AlignedText aligned{std::u32string(text), std::vector<int32_t>(text.size())};
  std::iota(aligned.source.begin(), aligned.source.end(), shift);
  if (stages_.normalizer) stages_.normalizer->normalize(aligned);
  for (const auto& segment : added_.split_normalized(aligned.text)) {
    if (segment.id >= 0) {
      add_token(segment.id, part_of(aligned.text, segment.span), source_span(aligned, segment.span),
                pieces);
    } else {
      const auto [begin, end] = segment.span;
      AlignedText part{std::u32string(part_of(aligned.text, segment.span)),
                       {aligned.source.begin() + begin, aligned.source.begin() + end}};
      tokenize_segment(std::move(part), shift == 0 && begin == 0, pieces);
    }
  }
}

std::vector<Piece> TokenizerPipeline::tokenize(std::string_view text) const {
  if (text.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    throw DataError("a text of more than 2 GiB cannot be tokenized; split it");
  }
  const std::u32string code_points = unicode::decode_utf8(text);
  std::vector<Piece> pieces;
  for (const auto& segment : added_.split_original(code_points)) {
    const std::u32string_view part = part_of(code_points, segment.span);
    if (segment.id >= 0) {
      add_token(segment.id, part, segment.span, pieces);
    } else {
      tokenize_plain(part, segment.span.begin, pieces);
    }
  }
  return pieces;
}

int64_t TokenizerPipeline::room(const TokenizerOptions& options, bool is_pair) const {
  if (options.stride < 0) {
    throw ConfigError(fmt::format("stride {}: must not be negative", options.stride));
  }
  if (!options.max_length) return std::numeric_limits<int64_t>::max();
  const auto& parts = is_pair ? stages_.special_tokens.pair : stages_.special_tokens.single;
  const int64_t added = options.special_tokens ? added_by(parts) : 0;
  if (*options.max_length < added) {
    throw ConfigError(fmt::format("max_length {}: no room for the {} special tokens of a {}",
                                  *options.max_length, added, is_pair ? "pair" : "text"));
  }
  // The Hugging Face library makes this check against a single text with special tokens.
  const int64_t effective = *options.max_length - added_by(stages_.special_tokens.single);
  if (effective >= 0 && options.stride > effective) {
    throw ConfigError(fmt::format(
        "stride {}: larger than the {} tokens that max_length {} leaves beside special tokens",
        options.stride, effective, *options.max_length));
  }
  return *options.max_length - added;
}

Span TokenizerPipeline::trimmed(const Piece& piece, bool is_first) const {
  auto [span, blanks] = std::pair(piece.span, piece.blanks);
  // A single blank at the beginning of a text may be one that it does not have.
  const bool begins = is_first || span.begin == 0;
  if (stages_.trim_keeps_prefix_space && begins && blanks.leading == 1) blanks.leading = 0;
  span.begin = std::min(span.begin + blanks.leading, span.end);
  if (span.end >= blanks.trailing) span.end = std::max(span.end - blanks.trailing, span.begin);
  return span;
}

Encoding TokenizerPipeline::assemble(const std::vector<Piece>& first,
                                     const std::vector<Piece>& second, const Window& window,
                                     const std::vector<TemplatePart>& parts,
                                     bool special_tokens) const {
  Encoding out;
  const auto size = static_cast<size_t>(window.first.end - window.first.begin + window.second.end -
                                        window.second.begin + added_by(parts));
  out.ids.reserve(size);
  out.type_ids.reserve(size);
  out.tokens.reserve(size);
  out.offsets.reserve(size);
  out.sequence.reserve(size);
  const auto add = [&](const Piece& piece, int64_t type_id, int sequence) {
    out.ids.push_back(piece.id);
    out.type_ids.push_back(stages_.has_types ? type_id : 0);
    out.tokens.emplace_back(stages_.vocabulary.token(piece.id).value_or(""));
    out.offsets.emplace_back(piece.span.begin, piece.span.end);
    out.sequence.push_back(sequence);
  };
  for (const TemplatePart& part : parts) {
    if (part.kind == TemplatePart::Kind::kSpecial) {
      for (int32_t id : part.ids) {
        if (special_tokens) add({id, {}}, part.type_id, -1);
      }
      continue;
    }
    const bool is_first = part.kind == TemplatePart::Kind::kFirst;
    const Span span = is_first ? window.first : window.second;
    for (int32_t i = span.begin; i < span.end; ++i) {
      const Piece& piece = (is_first ? first : second)[static_cast<size_t>(i)];
      add({piece.id, trimmed(piece, i == span.begin)}, part.type_id, is_first ? 0 : 1);
    }
  }
  return out;
}

std::vector<Encoding> TokenizerPipeline::encode(std::string_view text,
                                                std::optional<std::string_view> pair,
                                                const TokenizerOptions& options) const {
  const int64_t fitting = room(options, pair.has_value());
  const std::vector<Piece> first = tokenize(text);
  const std::vector<Piece> second = pair ? tokenize(*pair) : std::vector<Piece>();
  std::optional<int32_t> second_size;
  if (pair) second_size = static_cast<int32_t>(second.size());
  const auto& parts = pair ? stages_.special_tokens.pair : stages_.special_tokens.single;
  std::vector<Encoding> encodings;
  for (const Window& window :
       truncate(static_cast<int32_t>(first.size()), second_size, fitting, options)) {
    encodings.push_back(assemble(first, second, window, parts, options.special_tokens));
  }
  return encodings;
}

std::string TokenizerPipeline::decode(const std::vector<int64_t>& ids,
                                      bool skip_special_tokens) const {
  std::vector<std::string> tokens;
  for (int64_t id : ids) {
    const auto token = stages_.vocabulary.token(id);
    if (token && !(skip_special_tokens && added_.is_special(id))) tokens.emplace_back(*token);
  }
  std::string text = stages_.decoder
                         ? fmt::format("{}", fmt::join(stages_.decoder->decode(tokens), ""))
                         : fmt::format("{}", fmt::join(tokens, " "));
  if (stages_.cleans_up) clean_up_spaces(text);
  return text;
}

}  // namespace quell
