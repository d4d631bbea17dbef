#include "framework/text/decoders.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "framework/text/unicode.h"

namespace quell {
namespace {

std::optional<char> byte_of_token(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || !token.ends_with('>')) return std::nullopt;
  uint8_t byte = 0;
  const char* end = token.data() + 5;
  const auto [stop, error] = std::from_chars(token.data() + 3, end, byte, 16);
  if (error != std::errc() || stop != end) return std::nullopt;
  return static_cast<char>(byte);
}

}  // namespace

std::vector<std::string> DecoderSequence::decode(std::vector<std::string> tokens) const {
  for (const auto& step : steps_) tokens = step->decode(std::move(tokens));
  return tokens;
}

std::vector<std::string> ReplaceDecoder::decode(std::vector<std::string> tokens) const {
  std::vector<Span> matches;
  for (std::string& token : tokens) {
    std::u32string text = unicode::decode_utf8(token);
    matches.clear();
    pattern_->find(text, matches);
    for (auto match = matches.rbegin(); match != matches.rend(); ++match) {
      text.replace(static_cast<size_t>(match->begin),
                   static_cast<size_t>(match->end - match->begin), content_);
    }
    if (!matches.empty()) token = unicode::encode_utf8(text);
  }
  return tokens;
}

std::vector<std::string> ByteFallbackDecoder::decode(std::vector<std::string> tokens) const {
  std::vector<std::string> result;
  std::string bytes;
  const auto flush = [&] {
    if (bytes.empty()) return;
    if (unicode::is_valid_utf8(bytes)) {
      result.push_back(bytes);
    } else {
      result.insert(result.end(), bytes.size(), "\xEF\xBF\xBD");
    }
    bytes.clear();
  };
  for (std::string& token : tokens) {
    if (const auto byte = byte_of_token(token)) {
      bytes.push_back(*byte);
    } else {
      flush();
      result.push_back(std::move(token));
    }
  }
  flush();
  return result;
}

std::vector<std::string> FuseDecoder::decode(std::vector<std::string> tokens) const {
  std::string text;
  for (const std::string& token : tokens) text += token;
  return {std::move(text)};
}

std::vector<std::string> StripDecoder::decode(std::vector<std::string> tokens) const {
  for (std::string& token : tokens) {
    const std::u32string text = unicode::decode_utf8(token);
    size_t begin = 0, end = text.size();
    const auto most = [&](int64_t count) {
      return static_cast<size_t>(std::min<int64_t>(count, static_cast<int64_t>(text.size())));
    };
    while (begin < most(start_) && text[begin] == character_) ++begin;
    const size_t least_end = text.size() - most(stop_);
    while (end > std::max(least_end, begin) && text[end - 1] == character_) --end;
    if (begin > 0 || end < text.size()) {
      token = unicode::encode_utf8(std::u32string_view(text).substr(begin, end - begin));
    }
  }
  return tokens;
}

std::vector<std::string> MetaspaceDecoder::decode(std::vector<std::string> tokens) const {
  for (size_t i = 0; i < tokens.size(); ++i) {
    std::u32string text = unicode::decode_utf8(tokens[i]);
    if (i == 0 && prepended_) std::erase(text, replacement_);
    std::replace(text.begin(), text.end(), replacement_, U' ');
    tokens[i] = unicode::encode_utf8(text);
  }
  return tokens;
}

}  // namespace quell
