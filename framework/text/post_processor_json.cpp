// The post-processor of tokenizer.json, and those that classes of transformers have.
#include <fmt/format.h>

#include "framework/text/tokenizer_files.h"

namespace quell {
namespace {

using Kind = TemplatePart::Kind;

const TemplatePart kFirst{Kind::kFirst, 0, {}};
const TemplatePart kSecond{Kind::kSecond, 1, {}};

int32_t known_id(const JsonView& value, const Vocabulary& vocabulary) {
  const int64_t id = value.as_integer(0, kLargestTokenId);
  if (!vocabulary.token(id)) value.fail(fmt::format("no token has the id {}", id));
  return static_cast<int32_t>(id);
}

// `[{"SpecialToken": {"id", "type_id"}}, {"Sequence": {"id": "A" or "B", "type_id"}}, ...]`
std::vector<TemplatePart> read_template(const JsonView& list, const JsonView& special_tokens,
                                        const Vocabulary& vocabulary, bool is_pair) {
  std::vector<TemplatePart> parts;
  bool has_first = false, has_second = false;
  for (size_t i = 0; i < list.size(); ++i) {
    const JsonView entry = list.at(i);
    TemplatePart part;
    const auto sequence = entry.find("Sequence");
    const JsonView content = sequence ? *sequence : entry.at("SpecialToken");
    const std::string name = content.at("id").as_string();
    part.type_id = content.at("type_id").as_integer(0, INT32_MAX);
    if (sequence) {
      if (name != "A" && name != "B") content.fail("expected the id \"A\" or \"B\"");
      part.kind = name == "A" ? Kind::kFirst : Kind::kSecond;
      (name == "A" ? has_first : has_second) = true;
    } else {
      part.kind = Kind::kSpecial;
      const JsonView ids = special_tokens.at(name).at("ids");
      for (size_t k = 0; k < ids.size(); ++k) part.ids.push_back(known_id(ids.at(k), vocabulary));
    }
    parts.push_back(std::move(part));
  }
  if (!has_first || has_second != is_pair) {
    list.fail(is_pair ? "expected the sequences A and B" : "expected the sequence A, and no B");
  }
  return parts;
}

// ["[SEP]", 102]
int32_t read_named_id(const JsonView& pair, const Vocabulary& vocabulary) {
  if (pair.size() != 2) pair.fail("expected a token and its id");
  return known_id(pair.at(1), vocabulary);
}

bool read_part(const JsonView& part, TokenizerStages& stages);

bool read_sequence(const JsonView& list, TokenizerStages& stages) {
  bool adds = false;
  for (size_t i = 0; i < list.size(); ++i) {
    const bool step_adds = read_part(list.at(i), stages);
    if (adds && step_adds) list.at(i).fail("a second step that adds tokens is not supported");
    adds |= step_adds;
  }
  return adds;
}

// Returns whether the part adds tokens.
bool read_part(const JsonView& part, TokenizerStages& stages) {
  const Vocabulary& vocabulary = stages.vocabulary;
  const std::string type = part.at("type").as_string();
  if (type == "Sequence") return read_sequence(part.at("processors"), stages);
  if (type == "TemplateProcessing") {
    const JsonView tokens = part.at("special_tokens");
    stages.special_tokens = {read_template(part.at("single"), tokens, vocabulary, false),
                             read_template(part.at("pair"), tokens, vocabulary, true)};
    return true;
  }
  if (type == "RobertaProcessing" || type == "ByteLevel") {
    stages.trim_offsets = part.get_bool("trim_offsets", true);
    stages.trim_keeps_prefix_space = part.get_bool("add_prefix_space", true);
    if (type == "ByteLevel") return false;
  } else if (type != "BertProcessing") {
    part.fail(
        fmt::format("\"{}\" is not supported; supported: TemplateProcessing, "
                    "BertProcessing, RobertaProcessing, ByteLevel, Sequence",
                    type));
  }
  const int32_t cls = read_named_id(part.at("cls"), vocabulary);
  const int32_t sep = read_named_id(part.at("sep"), vocabulary);
  stages.special_tokens =
      type == "BertProcessing" ? bert_template(cls, sep) : roberta_template(cls, sep);
  return true;
}

}  // namespace

SpecialTokenTemplate bert_template(int32_t cls, int32_t sep) {
  const TemplatePart begin{Kind::kSpecial, 0, {cls}}, end{Kind::kSpecial, 0, {sep}};
  const TemplatePart second_end{Kind::kSpecial, 1, {sep}};
  return {{begin, kFirst, end}, {begin, kFirst, end, kSecond, second_end}};
}

SpecialTokenTemplate roberta_template(int32_t cls, int32_t sep) {
  const TemplatePart begin{Kind::kSpecial, 0, {cls}}, end{Kind::kSpecial, 0, {sep}};
  const TemplatePart second{Kind::kSecond, 0, {}};
  return {{begin, kFirst, end}, {begin, kFirst, end, end, second, end}};
}

SpecialTokenTemplate plain_template(std::optional<int32_t> bos, std::optional<int32_t> eos) {
  SpecialTokenTemplate result;
  const auto add = [&](std::vector<TemplatePart>& parts, const TemplatePart& text) {
    if (bos) parts.push_back({Kind::kSpecial, text.type_id, {*bos}});
    parts.push_back(text);
    if (eos) parts.push_back({Kind::kSpecial, text.type_id, {*eos}});
  };
  add(result.single, kFirst);
  add(result.pair, kFirst);
  add(result.pair, kSecond);
  return result;
}

void read_post_processor(const JsonView& root, TokenizerStages& stages) {
  stages.special_tokens = plain_template(std::nullopt, std::nullopt);
  const auto part = root.find("post_processor");
  if (part) read_part(*part, stages);
}

}  // namespace quell
