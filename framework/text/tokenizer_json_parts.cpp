// Normalizer, pre-tokenizer and decoder of tokenizer.json.
#include <fmt/format.h>

#include "framework/base/error.h"
#include "framework/text/byte_level.h"
#include "framework/text/decoders.h"
#include "framework/text/normalizers.h"
#include "framework/text/pre_tokenizers.h"
#include "framework/text/tokenizer_files.h"
#include "framework/text/word_piece.h"

namespace quell {
namespace {

[[noreturn]] void fail_unsupported(const JsonView& part, std::string_view supported) {
  part.fail(fmt::format("\"{}\" is not supported; supported: {}", part.at("type").as_string(),
                        supported));
}

// {"String": text} or {"Regex": expression}
std::unique_ptr<Pattern> read_pattern(const JsonView& pattern) {
  if (const auto text = pattern.find("String")) {
    return std::make_unique<StringPattern>(unicode::decode_utf8(text->as_string()));
  }
  const JsonView regex = pattern.at("Regex");
  try {
    return std::make_unique<RegexPattern>(regex.as_string());
  } catch (const DataError& error) {
    regex.fail(error.what());
  }
}

char32_t read_character(const JsonView& part, std::string_view key, const std::string& otherwise) {
  const std::u32string text = unicode::decode_utf8(
      otherwise.empty() ? part.at(key).as_string() : part.get_string(key, otherwise));
  if (text.size() != 1) part.fail(fmt::format("\"{}\": expected one character", key));
  return text[0];
}

std::unique_ptr<Normalizer> read_bert_normalizer(const JsonView& part) {
  BertNormalizerOptions options;
  options.clean_text = part.get_bool("clean_text", options.clean_text);
  options.space_chinese = part.get_bool("handle_chinese_chars", options.space_chinese);
  options.lowercase = part.get_bool("lowercase", options.lowercase);
  if (const auto strip = part.find("strip_accents")) options.strip_accents = strip->as_bool();
  return std::make_unique<BertNormalizer>(options);
}

std::unique_ptr<Normalizer> read_normalizer_part(const JsonView& part) {
  using enum unicode::Decomposition;
  const std::string type = part.at("type").as_string();
  if (type == "BertNormalizer") return read_bert_normalizer(part);
  if (type == "NFD") return std::make_unique<UnicodeNormalizer>(kCanonical, false);
  if (type == "NFC") return std::make_unique<UnicodeNormalizer>(kCanonical, true);
  if (type == "NFKD") return std::make_unique<UnicodeNormalizer>(kCompatibility, false);
  if (type == "NFKC") return std::make_unique<UnicodeNormalizer>(kCompatibility, true);
  if (type == "Lowercase") return std::make_unique<LowercaseNormalizer>();
  if (type == "StripAccents") return std::make_unique<StripAccentsNormalizer>();
  if (type == "Strip") {
    return std::make_unique<StripNormalizer>(part.get_bool("strip_left", true),
                                             part.get_bool("strip_right", true));
  }
  if (type == "Prepend") {
    return std::make_unique<PrependNormalizer>(
        unicode::decode_utf8(part.at("prepend").as_string()));
  }
  if (type == "Replace") {
    return std::make_unique<ReplaceNormalizer>(
        read_pattern(part.at("pattern")), unicode::decode_utf8(part.at("content").as_string()));
  }
  if (type != "Sequence") {
    fail_unsupported(part,
                     "Sequence, BertNormalizer, NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, "
                     "Strip, Replace, Prepend");
  }
  const JsonView list = part.at("normalizers");
  std::vector<std::unique_ptr<Normalizer>> steps;
  for (size_t i = 0; i < list.size(); ++i) steps.push_back(read_normalizer_part(list.at(i)));
  return std::make_unique<NormalizerSequence>(std::move(steps));
}

using Steps = std::vector<std::unique_ptr<PreTokenizer>>;

SplitBehavior read_behavior(const JsonView& part, const std::string& otherwise) {
  const std::string name = part.get_string("behavior", otherwise);
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  part.fail(
      fmt::format("behavior \"{}\" is not supported; supported: Removed, Isolated, "
                  "MergedWithPrevious, MergedWithNext, Contiguous",
                  name));
}

Metaspace::Prepend read_prepend_scheme(const JsonView& part) {
  const bool prefix = part.get_bool("add_prefix_space", true);  // how older files say it
  const std::string name = part.get_string("prepend_scheme", "always");
  if (!prefix || name == "never") return Metaspace::Prepend::kNever;
  if (name == "first") return Metaspace::Prepend::kFirst;
  if (name != "always") {
    part.fail(fmt::format("prepend_scheme \"{}\": expected always, first or never", name));
  }
  return Metaspace::Prepend::kAlways;
}

void read_simple_split(const JsonView& part, const std::string& type, Steps& steps) {
  const auto by_character = [&](CharacterSplit::Predicate predicate, SplitBehavior behavior) {
    steps.push_back(std::make_unique<CharacterSplit>(predicate, behavior));
  };
  const auto by_pattern = [&](std::unique_ptr<Pattern> pattern, SplitBehavior behavior,
                              bool invert) {
    steps.push_back(std::make_unique<PatternSplit>(std::move(pattern), behavior, invert));
  };
  if (type == "BertPreTokenizer") {
    steps.push_back(make_bert_pre_tokenizer());
  } else if (type == "WhitespaceSplit") {
    by_character(unicode::is_whitespace, SplitBehavior::kRemoved);
  } else if (type == "Whitespace") {
    steps.push_back(make_word_pre_tokenizer());
  } else if (type == "Punctuation") {
    by_character(unicode::is_punctuation, read_behavior(part, "Isolated"));
  } else if (type == "Digits") {
    by_character(unicode::is_numeric, part.get_bool("individual_digits", false)
                                          ? SplitBehavior::kIsolated
                                          : SplitBehavior::kContiguous);
  } else if (type == "Split") {
    part.at("behavior");
    by_pattern(read_pattern(part.at("pattern")), read_behavior(part, ""),
               part.get_bool("invert", false));
  } else if (type == "CharDelimiterSplit") {
    const char32_t delimiter = read_character(part, "delimiter", "");
    by_pattern(std::make_unique<StringPattern>(std::u32string(1, delimiter)),
               SplitBehavior::kRemoved, false);
  } else if (type == "Metaspace") {
    steps.push_back(std::make_unique<Metaspace>(read_character(part, "replacement", "\u2581"),
                                                read_prepend_scheme(part),
                                                part.get_bool("split", true)));
  } else if (type == "UnicodeScripts") {
    steps.push_back(std::make_unique<ScriptSplit>());
  } else if (type == "FixedLength") {
    constexpr int32_t kUsualLength = 5;
    const auto length = part.find("length");
    steps.push_back(std::make_unique<FixedLengthSplit>(
        length ? static_cast<int32_t>(length->as_integer(1, INT32_MAX)) : kUsualLength));
  } else {
    fail_unsupported(part,
                     "Sequence, BertPreTokenizer, ByteLevel, Whitespace, WhitespaceSplit, "
                     "Punctuation, Digits, Split, CharDelimiterSplit, Metaspace, UnicodeScripts, "
                     "FixedLength");
  }
}

void read_pre_tokenizer_part(const JsonView& part, Steps& steps, bool& byte_level) {
  const std::string type = part.at("type").as_string();
  if (byte_level && type != "Sequence") {
    part.fail("stands behind a ByteLevel, which is not supported; put the ByteLevel last");
  }
  if (type == "Sequence") {
    const JsonView list = part.at("pretokenizers");
    for (size_t i = 0; i < list.size(); ++i) {
      read_pre_tokenizer_part(list.at(i), steps, byte_level);
    }
  } else if (type == "ByteLevel") {
    byte_level = true;
    if (part.get_bool("add_prefix_space", true)) steps.push_back(std::make_unique<PrefixSpace>());
    if (part.get_bool("use_regex", true)) steps.push_back(make_gpt2_pre_tokenizer(false));
  } else {
    read_simple_split(part, type, steps);
  }
}

std::unique_ptr<Decoder> read_decoder_part(const JsonView& part) {
  const std::string type = part.at("type").as_string();
  if (type == "ByteLevel") return std::make_unique<ByteLevelDecoder>();
  if (type == "ByteFallback") return std::make_unique<ByteFallbackDecoder>();
  if (type == "Fuse") return std::make_unique<FuseDecoder>();
  if (type == "WordPiece") {
    return std::make_unique<WordPieceDecoder>(part.get_string("prefix", "##"),
                                              part.get_bool("cleanup", true));
  }
  if (type == "Metaspace") {
    return std::make_unique<MetaspaceDecoder>(
        read_character(part, "replacement", "\u2581"),
        read_prepend_scheme(part) != Metaspace::Prepend::kNever);
  }
  if (type == "Replace") {
    return std::make_unique<ReplaceDecoder>(read_pattern(part.at("pattern")),
                                            unicode::decode_utf8(part.at("content").as_string()));
  }
  if (type == "Strip") {
    return std::make_unique<StripDecoder>(read_character(part, "content", " "),
                                          part.at("start").as_integer(0, INT32_MAX),
                                          part.at("stop").as_integer(0, INT32_MAX));
  }
  if (type != "Sequence") {
    fail_unsupported(
        part, "WordPiece, ByteLevel, Metaspace, ByteFallback, Fuse, Replace, Strip, Sequence");
  }
  const JsonView list = part.at("decoders");
  std::vector<std::unique_ptr<Decoder>> steps;
  for (size_t i = 0; i < list.size(); ++i) steps.push_back(read_decoder_part(list.at(i)));
  return std::make_unique<DecoderSequence>(std::move(steps));
}

}  // namespace

std::unique_ptr<Normalizer> read_normalizer(const JsonView& root) {
  const auto part = root.find("normalizer");
  return part ? read_normalizer_part(*part) : nullptr;
}

std::unique_ptr<PreTokenizer> read_pre_tokenizer(const JsonView& root, bool& byte_level) {
  byte_level = false;
  const auto part = root.find("pre_tokenizer");
  if (!part) return nullptr;
  Steps steps;
  read_pre_tokenizer_part(*part, steps, byte_level);
  return std::make_unique<PreTokenizerSequence>(std::move(steps));
}

std::unique_ptr<Decoder> read_decoder(const JsonView& root) {
  const auto part = root.find("decoder");
  return part ? read_decoder_part(*part) : nullptr;
}

}  // namespace quell
