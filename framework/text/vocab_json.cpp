#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/text/byte_level.h"
#include "framework/text/declared_tokens.h"
#include "framework/text/decoders.h"
#include "framework/text/pre_tokenizers.h"
#include "framework/text/tokenizer_files.h"
#include "framework/text/unicode.h"

namespace quell {
namespace {

// What a line or an entry "left right" says, with the reason where it says nothing.
struct ParsedMerge {
  BytePairEncoding::Merge merge;
  std::string problem;
};

ParsedMerge parse_merge(std::string_view left, std::string_view right,
                        const Vocabulary& vocabulary) {
  const std::string merged = std::string(left) + std::string(right);
  const auto first = vocabulary.find(left), second = vocabulary.find(right),
             whole = vocabulary.find(merged);
  if (first && second && whole) return {{*first, *second, *whole}, ""};
  return {{},
          fmt::format("the token \"{}\" of this merge is not in the vocabulary",
                      !first    ? left
                      : !second ? right
                                : std::string_view(merged))};
}

ParsedMerge parse_merge(std::string_view text, const Vocabulary& vocabulary) {
  const size_t blank = text.find(' ');
  if (blank == std::string_view::npos || text.find(' ', blank + 1) != std::string_view::npos) {
    return {{}, fmt::format("expected two tokens with a blank between them, found \"{}\"", text)};
  }
  return parse_merge(text.substr(0, blank), text.substr(blank + 1), vocabulary);
}

const std::string kTextEnd = "<|endoftext|>";

SpecialTokenDefaults default_tokens(TokenizerBuild build) {
  if (build == TokenizerBuild::kGpt2) {
    return {{"bos_token", kTextEnd}, {"eos_token", kTextEnd}, {"unk_token", kTextEnd}};
  }
  if (build == TokenizerBuild::kLlama) {
    return {{"bos_token", "<s>"}, {"eos_token", "</s>"}, {"unk_token", "<unk>"}};
  }
  return {{"bos_token", "<s>"},    {"eos_token", "</s>"},  {"sep_token", "</s>"},
          {"cls_token", "<s>"},    {"unk_token", "<unk>"}, {"pad_token", "<pad>"},
          {"mask_token", "<mask>"}};
}

// The id of a role's token, if it has one. Throws DataError where a file names a token that is not
// in the vocabulary.
std::optional<int32_t> role_id(const DeclaredTokens& declared, const SpecialTokenDefaults& defaults,
                               const std::string& role, const Vocabulary& vocabulary,
                               const std::string& source) {
  const auto text = declared.text(role, defaults);
  if (!text) return std::nullopt;
  const auto id = vocabulary.find(*text);
  if (!id && declared.names(role) && !declared.is_added(*text)) {
    throw DataError(
        fmt::format("{}: no token \"{}\", the {} of this tokenizer; add it, or name another one in "
                    "tokenizer_config.json",
                    source, *text, role));
  }
  return id;
}

int32_t required_id(const DeclaredTokens& declared, const SpecialTokenDefaults& defaults,
                    const std::string& role, const Vocabulary& vocabulary,
                    const std::string& source) {
  if (const auto id = role_id(declared, defaults, role, vocabulary, source)) return *id;
  throw DataError(fmt::format(
      "{}: no token \"{}\", the {} of this tokenizer; name another one in tokenizer_config.json",
      source, declared.text(role, defaults).value_or("null"), role));
}

void read_model(const TokenizerSettings& settings, const std::optional<JsonView>& tokenizer_json,
                TokenizerBuild build, TokenizerStages& stages) {
  const bool is_llama = build == TokenizerBuild::kLlama;
  std::vector<BytePairEncoding::Merge> merges;
  if (tokenizer_json) {
    const JsonView model = tokenizer_json->at("model");
    stages.vocabulary = read_vocabulary(model.at("vocab"));
    merges = read_merges(model.at("merges"), stages.vocabulary);
  } else {
    stages.vocabulary = read_vocabulary(JsonView::read(settings.folder() / "vocab.json"));
    merges = read_merges_txt(settings.folder() / "merges.txt", stages.vocabulary);
  }
  stages.model = std::make_unique<BytePairEncoding>(
      stages.vocabulary, merges,
      BytePairOptions{
          .byte_level = !is_llama, .byte_fallback = is_llama, .fuse_unknown = is_llama});
}

std::unique_ptr<Decoder> llama_decoder(bool prefix_space) {
  std::vector<std::unique_ptr<Decoder>> steps;
  steps.push_back(
      std::make_unique<ReplaceDecoder>(std::make_unique<StringPattern>(U"\u2581"), U" "));
  steps.push_back(std::make_unique<ByteFallbackDecoder>());
  steps.push_back(std::make_unique<FuseDecoder>());
  if (prefix_space) steps.push_back(std::make_unique<StripDecoder>(U' ', 1, 0));
  return std::make_unique<DecoderSequence>(std::move(steps));
}

}  // namespace

Vocabulary read_vocabulary(const JsonView& table) {
  if (!table.value().is_object()) table.fail("expected an object from tokens to ids");
  Vocabulary vocabulary;
  for (const auto& [token, value] : table.value().items()) {
    const bool is_id = value.is_number_unsigned() && value.get<uint64_t>() <= kLargestTokenId;
    if (!is_id) table.at(token).as_integer(0, kLargestTokenId);  // says what is wrong
    const auto id = value.get<int32_t>();
    if (vocabulary.add(token, id)) continue;
    table.fail(fmt::format("\"{}\" and \"{}\" have the same id {}",
                           vocabulary.token(id).value_or(""), token, id));
  }
  return vocabulary;
}

std::vector<BytePairEncoding::Merge> read_merges(const JsonView& list,
                                                 const Vocabulary& vocabulary) {
  std::vector<BytePairEncoding::Merge> merges;
  merges.reserve(list.size());
  for (const auto& value : list.value()) {  // views of 50,000 entries would take a while
    const auto fail = [&](const std::string& problem) { list.at(merges.size()).fail(problem); };
    ParsedMerge parsed;
    if (value.is_string()) {
      parsed = parse_merge(value.get_ref<const std::string&>(), vocabulary);
    } else if (value.is_array() && value.size() == 2 && value[0].is_string() &&
               value[1].is_string()) {
      parsed = parse_merge(value[0].get_ref<const std::string&>(),
                           value[1].get_ref<const std::string&>(), vocabulary);
    } else {
      fail("expected a text with two tokens, or a list of two");
    }
    if (!parsed.problem.empty()) fail(parsed.problem);
    merges.push_back(parsed.merge);
  }
  return merges;
}

std::vector<BytePairEncoding::Merge> read_merges_txt(const std::filesystem::path& file,
                                                     const Vocabulary& vocabulary) {
  const std::string content = read_file(file);
  std::vector<BytePairEncoding::Merge> merges;
  int64_t number = 0;
  for (size_t at = 0; at < content.size();) {
    const size_t newline = std::min(content.find('\n', at), content.size());
    std::string_view line = std::string_view(content).substr(at, newline - at);
    at = newline + 1;
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || (number == 1 && line.starts_with("#version"))) continue;
    const auto fail = [&](const std::string& problem) {
      throw DataError(fmt::format("{}:{}: {}", file.string(), number, problem));
    };
    if (!unicode::is_valid_utf8(line)) fail("not valid UTF-8; convert the file");
    const ParsedMerge parsed = parse_merge(line, vocabulary);
    if (!parsed.problem.empty()) fail(parsed.problem);
    merges.push_back(parsed.merge);
  }
  return merges;
}

TokenizerStages byte_pair_stages(const TokenizerSettings& settings,
                                 const std::optional<JsonView>& tokenizer_json,
                                 TokenizerBuild build) {
  const bool is_roberta = build == TokenizerBuild::kRoberta;
  const bool is_llama = build == TokenizerBuild::kLlama;
  const std::string source =
      tokenizer_json ? tokenizer_json->place() : (settings.folder() / "vocab.json").string();
  TokenizerStages stages;
  read_model(settings, tokenizer_json, build, stages);
  const SpecialTokenDefaults defaults = default_tokens(build);
  const DeclaredTokens declared(settings, tokenizer_json);
  const auto id = [&](const std::string& role) {
    return role_id(declared, defaults, role, stages.vocabulary, source);
  };
  for (const auto& [role, text] : defaults) id(role);
  declared.add_to(stages, defaults);
  stages.bos_id = id("bos_token");
  stages.eos_id = id("eos_token");
  const bool prefix_space = settings.flag("add_prefix_space", is_llama);
  if (is_llama) {
    // "legacy" is how LLaMA's class says that every word is given a blank, not the first alone.
    const auto prepend =
        settings.flag("legacy", false) ? Metaspace::Prepend::kAlways : Metaspace::Prepend::kFirst;
    stages.pre_tokenizer = std::make_unique<Metaspace>(
        U'\u2581', prefix_space ? prepend : Metaspace::Prepend::kNever, false);
    stages.decoder = llama_decoder(prefix_space);
  } else {
    stages.pre_tokenizer = make_gpt2_pre_tokenizer(prefix_space);
    stages.decoder = std::make_unique<ByteLevelDecoder>();
  }
  if (is_roberta) {
    const auto required = [&](const char* role) {
      return required_id(declared, defaults, role, stages.vocabulary, source);
    };
    stages.special_tokens = roberta_template(required("cls_token"), required("sep_token"));
    stages.pad_id = required("pad_token");
    stages.trim_offsets = settings.flag("trim_offsets", true);
    stages.trim_keeps_prefix_space = prefix_space;
    return stages;
  }
  if (tokenizer_json) {
    read_post_processor(*tokenizer_json, stages);
  } else {
    stages.special_tokens =
        plain_template(settings.flag("add_bos_token", false) ? id("bos_token") : std::nullopt,
                       settings.flag("add_eos_token", false) ? id("eos_token") : std::nullopt);
  }
  // Generators without padding are padded with what ends a text.
  stages.pad_id = declared.text("pad_token")
                      ? required_id(declared, defaults, "pad_token", stages.vocabulary, source)
                      : required_id(declared, defaults, "eos_token", stages.vocabulary, source);
  return stages;
}

}  // namespace quell
