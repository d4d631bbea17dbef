#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/text/byte_level.h"
#include "framework/text/regex_pre_tokenizer.h"
#include "framework/text/tokenizer_files.h"

namespace quell {
namespace {

constexpr std::array<std::string_view, 4> kRobertaClasses = {"RobertaTokenizer", "BartTokenizer",
                                                             "LongformerTokenizer", "LEDTokenizer"};

std::string tokenizer_class(const TokenizerSettings& settings,
                            const std::filesystem::path& folder) {
  std::string name = settings.tokenizer_class().value_or("");
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  const bool roberta =
      std::find(kRobertaClasses.begin(), kRobertaClasses.end(), name) != kRobertaClasses.end();
  if (roberta) return kRobertaClasses[0].data();
  if (name == "GPT2Tokenizer") return name;
  throw DataError(fmt::format(
      "{}: tokenizer_class: {} with vocab.json and merges.txt is not supported, expected one of "
      "{}, GPT2Tokenizer; store a tokenizer.json with transformers' save_pretrained",
      (folder / "tokenizer_config.json").string(), name.empty() ? "none" : '"' + name + '"',
      fmt::join(kRobertaClasses, ", ")));
}

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

// The special tokens of a class: role, text when no file names another.
using Defaults = std::vector<std::pair<std::string, std::string>>;

int32_t special_id(const TokenizerSettings& settings, const Defaults& defaults,
                   const std::string& role, TokenizerStages& stages,
                   const std::filesystem::path& folder) {
  const auto found = std::find_if(defaults.begin(), defaults.end(),
                                  [&](const auto& entry) { return entry.first == role; });
  const std::string text = settings.special_token(role).value_or(found->second);
  const auto id = stages.vocabulary.find(text);
  if (!id) {
    throw DataError(
        fmt::format("{}: no token \"{}\", the {} of this tokenizer; add it, or name another one in "
                    "tokenizer_config.json",
                    (folder / "vocab.json").string(), text, role));
  }
  const auto same = [&](const AddedToken& token) { return token.id == *id; };
  auto& added = stages.added_tokens;
  if (std::none_of(added.begin(), added.end(), same)) {
    // The mask takes the blanks before it along, as its classes declare it.
    added.push_back(
        {.content = text, .id = *id, .special = true, .strip_left = role == "mask_token"});
  }
  return *id;
}

void complete_roberta(const TokenizerSettings& settings, const std::filesystem::path& folder,
                      TokenizerStages& stages) {
  const Defaults defaults = {
      {"bos_token", "<s>"},   {"eos_token", "</s>"},  {"sep_token", "</s>"},   {"cls_token", "<s>"},
      {"unk_token", "<unk>"}, {"pad_token", "<pad>"}, {"mask_token", "<mask>"}};
  std::map<std::string, int32_t> ids;
  for (const auto& [role, text] : defaults) {
    ids[role] = special_id(settings, defaults, role, stages, folder);
  }
  stages.special_tokens = roberta_template(ids.at("cls_token"), ids.at("sep_token"));
  stages.pad_id = ids.at("pad_token");
  stages.trim_offsets = settings.flag("trim_offsets", true);
  stages.trim_keeps_prefix_space = stages.prefix_space;
}

void complete_gpt2(const TokenizerSettings& settings, const std::filesystem::path& folder,
                   TokenizerStages& stages) {
  using Kind = TemplatePart::Kind;
  const std::string end = "<|endoftext|>";
  const Defaults defaults = {{"bos_token", end},
                             {"eos_token", end},
                             {"unk_token", end},
                             {"pad_token", settings.special_token("eos_token").value_or(end)}};
  std::map<std::string, int32_t> ids;
  for (const auto& [role, text] : defaults) {
    ids[role] = special_id(settings, defaults, role, stages, folder);
  }
  const TemplatePart first{Kind::kFirst, 0, {}}, second{Kind::kSecond, 1, {}};
  stages.special_tokens = {{first}, {first, second}};
  if (settings.flag("add_bos_token", false)) {
    const TemplatePart bos{Kind::kSpecial, 0, {ids.at("bos_token")}};
    const TemplatePart second_bos{Kind::kSpecial, 1, {ids.at("bos_token")}};
    stages.special_tokens = {{bos, first}, {bos, first, second_bos, second}};
  }
  stages.pad_id = ids.at("pad_token");
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
    const ParsedMerge parsed = parse_merge(line, vocabulary);
    if (!parsed.problem.empty()) {
      throw DataError(fmt::format("{}:{}: {}", file.string(), number, parsed.problem));
    }
    merges.push_back(parsed.merge);
  }
  return merges;
}

SpecialTokenTemplate roberta_template(int32_t cls, int32_t sep) {
  using Kind = TemplatePart::Kind;
  const TemplatePart begin{Kind::kSpecial, 0, {cls}}, end{Kind::kSpecial, 0, {sep}};
  const TemplatePart first{Kind::kFirst, 0, {}}, second{Kind::kSecond, 0, {}};
  return {{begin, first, end}, {begin, first, end, end, second, end}};
}

TokenizerStages stages_from_vocab_json(const std::filesystem::path& folder) {
  const TokenizerSettings settings = TokenizerSettings::read(folder);
  const std::string type = tokenizer_class(settings, folder);
  TokenizerStages stages;
  stages.vocabulary = read_vocabulary(JsonView::read(folder / "vocab.json"));
  stages.model = std::make_unique<BytePairEncoding>(
      stages.vocabulary, read_merges_txt(folder / "merges.txt", stages.vocabulary),
      BytePairOptions{});
  stages.added_tokens = settings.added_tokens();
  add_to_vocabulary(stages.vocabulary, stages.added_tokens, folder / "tokenizer_config.json");
  stages.prefix_space = settings.flag("add_prefix_space", false);
  stages.pre_tokenizer = std::make_unique<RegexPreTokenizer>(kGpt2Words);
  stages.decoder = std::make_unique<ByteLevelDecoder>();
  type == "GPT2Tokenizer" ? complete_gpt2(settings, folder, stages)
                          : complete_roberta(settings, folder, stages);
  stages.model_max_length = settings.model_max_length();
  return stages;
}

}  // namespace quell
