// Reading tokenizer files: what they may say, and what a broken one gets.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "framework/base/error.h"
#include "framework/text/tokenizer.h"
#include "tests/unit/text/support.h"

namespace quell {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const char* const kVocabulary =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nworld\n##ly\nHello\n!\n";

json tiny_tokenizer() {
  return json::parse(R"({
    "version": "1.0", "truncation": {"max_length": 3}, "padding": null,
    "added_tokens": [{"id": 4, "content": "[MASK]", "special": true, "normalized": false,
                      "single_word": false, "lstrip": true, "rstrip": false}],
    "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                   "strip_accents": null, "lowercase": true},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
    "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
    "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
              "max_input_chars_per_word": 100,
              "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "hello": 5,
                        "world": 6, "##ly": 7}}
  })");
}

class Load : public ::testing::Test {
 protected:
  std::unique_ptr<Tokenizer> load() { return load_tokenizer(folder_.path()); }
  std::unique_ptr<Tokenizer> load(const json& tokenizer) {
    folder_.write("tokenizer.json", tokenizer.dump());
    return load();
  }
  std::vector<int64_t> ids(const Tokenizer& tokenizer, std::string_view text) {
    return tokenizer.encode(text, std::nullopt, {})[0].ids;
  }
  std::string error_of_loading() {
    try {
      load();
    } catch (const DataError& error) {
      return error.what();
    }
    return "no DataError";
  }
  std::string error_of(const json& tokenizer) {
    folder_.write("tokenizer.json", tokenizer.dump());
    return error_of_loading();
  }
  std::string error_of_vocabulary(const std::string& vocabulary, const std::string& config = "{}") {
    folder_.write("vocab.txt", vocabulary);
    folder_.write("tokenizer_config.json", config);
    return error_of_loading();
  }
  test::TemporaryFolder folder_;
};

using Ids = std::vector<int64_t>;

TEST_F(Load, VocabTxtAloneIsAnUncasedBert) {
  folder_.write("vocab.txt", kVocabulary);
  EXPECT_EQ(ids(*load(), "Hello worldly!"), (Ids{2, 5, 6, 7, 9, 3}));
}

TEST_F(Load, WindowsLineEndsAndAMissingLastOneAreFine) {
  std::string vocabulary = kVocabulary;
  for (size_t at = 0; (at = vocabulary.find('\n', at)) != std::string::npos; at += 2) {
    vocabulary.replace(at, 1, "\r\n");
  }
  vocabulary.resize(vocabulary.size() - 2);
  folder_.write("vocab.txt", vocabulary);
  EXPECT_EQ(load()->vocabulary_size(), 10);
}

TEST_F(Load, ConfigSetsCaseLengthAndNames) {
  folder_.write("vocab.txt", kVocabulary);
  folder_.write("tokenizer_config.json",
                R"({"do_lower_case": false, "model_max_length": 128, "pad_token": "!",
                    "mask_token": {"content": "world", "lstrip": true}})");
  const auto tokenizer = load();
  EXPECT_EQ(ids(*tokenizer, "Hello worldly"), (Ids{2, 8, 6, 1, 3}));
  EXPECT_EQ(tokenizer->model_max_length(), 128);
  EXPECT_EQ(tokenizer->pad_id(), 9);
}

TEST_F(Load, VeryLargeMaximumLengthIsNone) {
  folder_.write("vocab.txt", kVocabulary);
  folder_.write("tokenizer_config.json",
                R"({"model_max_length": 1000000000000000019884624838656})");
  EXPECT_EQ(load()->model_max_length(), std::nullopt);
}

TEST_F(Load, OlderSpecialTokensMapAndAddedTokensCount) {
  folder_.write("vocab.txt", kVocabulary);
  folder_.write("special_tokens_map.json", R"({"sep_token": "!"})");
  folder_.write("added_tokens.json", R"({"<x>": 10})");
  const auto tokenizer = load();
  EXPECT_EQ(ids(*tokenizer, "hello<x>"), (Ids{2, 5, 10, 9}));
  EXPECT_EQ(tokenizer->largest_id(), 10);
  // Neither does beside added_tokens_decoder.
  folder_.write("tokenizer_config.json",
                R"({"added_tokens_decoder": {"10": {"content": "<y>", "special": true}}})");
  EXPECT_EQ(ids(*load(), "hello<y><x>"), (Ids{2, 5, 10, 1, 1, 1, 3}));
}

// Of the lines of white space the last is a token, which nothing matches. Here transformers counts
// six tokens, and gives the [MASK] that no file names the id of "hello".
TEST_F(Load, BlankLinesOfVocabTxtCount) {
  folder_.write("vocab.txt", "[PAD]\n\n[UNK]\n[CLS]\n \n[SEP]\nhello \t\n\n");
  const auto tokenizer = load();
  EXPECT_EQ(ids(*tokenizer, "hello  x"), (Ids{3, 6, 2, 5}));
  EXPECT_EQ(tokenizer->largest_id(), 7);
  EXPECT_EQ(ids(*tokenizer, "hello  x [MASK] x"), (Ids{3, 6, 2, 6, 2, 5}));
  EXPECT_THAT(tokenizer->notes(), ElementsAre(AllOf(HasSubstr("[MASK]"), HasSubstr("\"hello\""))));
}

TEST_F(Load, BrokenVocabulariesNameTheLine) {
  EXPECT_THAT(error_of_vocabulary(std::string(kVocabulary) + "hello\n"),
              AllOf(HasSubstr("vocab.txt:11:"), HasSubstr("\"hello\""), HasSubstr("line 6")));
  EXPECT_THAT(error_of_vocabulary("[PAD]\n\xFF\n"), HasSubstr("vocab.txt:2: not valid UTF-8"));
  EXPECT_THAT(error_of_vocabulary(""), HasSubstr("empty"));
  EXPECT_THAT(error_of_vocabulary("[PAD]\n[CLS]\n[SEP]\n"),
              AllOf(HasSubstr("vocab.txt"), HasSubstr("\"[UNK]\""), HasSubstr("unk_token")));
  EXPECT_THAT(error_of_vocabulary(kVocabulary, R"({"cls_token": "<s>"})"), HasSubstr("\"<s>\""));
}

TEST_F(Load, BrokenConfigsNameTheKey) {
  EXPECT_THAT(error_of_vocabulary(kVocabulary, "{"),
              HasSubstr("tokenizer_config.json:1:2: not valid"));
  EXPECT_THAT(error_of_vocabulary(kVocabulary, "[]"), HasSubstr("expected an object"));
  EXPECT_THAT(error_of_vocabulary(kVocabulary, R"({"do_lower_case": "yes"})"),
              HasSubstr("tokenizer_config.json: do_lower_case: expected true or false"));
  EXPECT_THAT(error_of_vocabulary(kVocabulary, R"({"model_max_length": 0})"),
              HasSubstr("model_max_length: expected an integer from 1"));
  EXPECT_THAT(error_of_vocabulary(kVocabulary, R"({"tokenizer_class": "T5Tokenizer"})"),
              HasSubstr("\"T5Tokenizer\""));
  EXPECT_THAT(error_of_vocabulary(kVocabulary, R"({"truncation_side": "left"})"),
              HasSubstr("truncation_side"));
  EXPECT_THAT(
      error_of_vocabulary(kVocabulary, R"({"added_tokens_decoder": {"5": {"content": "<x>"}}})"),
      AllOf(HasSubstr("\"<x>\""), HasSubstr("belongs to \"hello\"")));
}

TEST_F(Load, TokenizerJsonIsRead) {
  const auto tokenizer = load(tiny_tokenizer());
  EXPECT_EQ(ids(*tokenizer, "HELLO  [MASK]worldly xyz"), (Ids{2, 5, 4, 6, 7, 1, 3}));
  // The token takes the blanks before it along.
  EXPECT_EQ(tokenizer->encode("hello  [MASK]", std::nullopt, {})[0].offsets[2],
            (std::pair<int64_t, int64_t>{5, 13}));
  EXPECT_EQ(tokenizer->encode("hello", "world", {})[0].type_ids, (Ids{0, 0, 0, 1, 1}));
  // Only the added tokens that say so are special.
  EXPECT_EQ(tokenizer->decode({2, 5, 7, 4, 3}, true), "[CLS] helloly [SEP]");
}

TEST_F(Load, ConfigOverridesTheNormalizationOfTokenizerJson) {
  folder_.write("tokenizer_config.json",
                R"({"tokenizer_class": "BertTokenizerFast", "do_lower_case": false})");
  EXPECT_EQ(ids(*load(tiny_tokenizer()), "HELLO hello"), (Ids{2, 1, 5, 3}));
  // Other classes never look at the key.
  folder_.write("tokenizer_config.json",
                R"({"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": false})");
  EXPECT_EQ(ids(*load(tiny_tokenizer()), "HELLO hello"), (Ids{2, 5, 5, 3}));
}

TEST_F(Load, TemplateGivesOrderAndTypes) {
  json tokenizer = tiny_tokenizer();
  tokenizer["post_processor"] = json::parse(R"({"type": "TemplateProcessing",
    "single": [{"Sequence": {"id": "A", "type_id": 4}}, {"SpecialToken": {"id": "end", "type_id": 2}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {"end": {"id": "end", "ids": [3, 0], "tokens": ["[SEP]", "[PAD]"]}}})");
  const Encoding found = load(tokenizer)->encode("hello", std::nullopt, {.max_length = 3})[0];
  EXPECT_EQ(found.ids, (Ids{5, 3, 0}));
  EXPECT_EQ(found.type_ids, (Ids{4, 2, 2}));
  tokenizer["post_processor"] = nullptr;
  EXPECT_EQ(ids(*load(tokenizer), "hello"), (Ids{5}));
}

TEST_F(Load, AddedTokensKnowWordsAndNormalization) {
  json tokenizer = tiny_tokenizer();
  tokenizer["added_tokens"] = json::parse(R"([
    {"id": 8, "content": "HE", "normalized": true}, {"id": 9, "content": "ld", "single_word": true},
    {"id": 10, "content": "wor", "normalized": false}, {"id": 11, "content": "worldly", "normalized": false}])");
  const auto loaded = load(tokenizer);
  EXPECT_EQ(loaded->encode("heworld worldly ld", std::nullopt, {})[0].tokens,
            (std::vector<std::string>{"[CLS]", "HE", "wor", "ld", "worldly", "ld", "[SEP]"}));
  EXPECT_EQ(loaded->vocabulary_size(), 12);
}

TEST_F(Load, WhatIsNotSupportedIsNamed) {
  for (const char* part : {"normalizer", "pre_tokenizer", "post_processor", "decoder", "model"}) {
    json tokenizer = tiny_tokenizer();
    tokenizer[part]["type"] = "Unheard";
    EXPECT_THAT(error_of(tokenizer), AllOf(HasSubstr("tokenizer.json: " + std::string(part)),
                                           HasSubstr("\"Unheard\""), HasSubstr("supported: ")));
  }
}

TEST_F(Load, BrokenTokenizerJsonNamesThePlace) {
  const auto with = [](const char* pointer, json value) {
    json tokenizer = tiny_tokenizer();
    tokenizer[json::json_pointer(pointer)] = std::move(value);
    return tokenizer;
  };
  EXPECT_THAT(error_of(json::array()), HasSubstr("expected an object"));
  EXPECT_THAT(error_of(json::object()), HasSubstr("\"model\" is missing"));
  EXPECT_THAT(error_of(with("/model/vocab/hello", 6)), HasSubstr("have the same id 6"));
  EXPECT_THAT(error_of(with("/model/vocab/hello", -1)), HasSubstr("model.vocab.hello: expected"));
  EXPECT_THAT(error_of(with("/model/vocab/hello", 1LL << 40)), HasSubstr("model.vocab.hello"));
  EXPECT_THAT(error_of(with("/model/vocab/hello", "x")), HasSubstr("model.vocab.hello"));
  EXPECT_THAT(error_of(with("/model/vocab", 3)), HasSubstr("model.vocab: expected"));
  EXPECT_THAT(error_of(with("/model/unk_token", "<unk>")), HasSubstr("\"<unk>\""));
  EXPECT_THAT(error_of(with("/added_tokens/0/id", 5)), HasSubstr("\"[MASK]\" has id 5"));
  EXPECT_THAT(error_of(with("/added_tokens/0/content", "")), HasSubstr("added_tokens[0]"));
  EXPECT_THAT(error_of(with("/post_processor/sep", json::array({"[SEP]", 77}))),
              HasSubstr("no token has the id 77"));
  json no_pad = tiny_tokenizer();
  no_pad["model"]["vocab"].erase("[PAD]");
  EXPECT_THAT(error_of(no_pad), HasSubstr("pad_token"));
  folder_.write("tokenizer.json", R"({"model": {"vocab": {"a": 1, "a": 2}}})");
  EXPECT_THAT(error_of_loading(), HasSubstr("\"a\" appears twice"));
}

// Cut anywhere, the file is refused and nothing else happens.
TEST_F(Load, TruncatedTokenizerJsonIsRefused) {
  const std::string whole = tiny_tokenizer().dump();
  for (size_t size = 0; size < whole.size(); size += 7) {
    folder_.write("tokenizer.json", whole.substr(0, size));
    EXPECT_THROW(load(), DataError);
  }
}

json tiny_byte_pairs() {
  return json::parse(R"({"added_tokens": [],
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
    "model": {"type": "BPE", "vocab": {"<pad>": 0, "a": 1, "b": 2, "ab": 3},
              "merges": [["a", "b"]]}})");
}

TEST_F(Load, BytePairsAreRead) {
  json tokenizer = tiny_byte_pairs();
  EXPECT_EQ(ids(*load(tokenizer), "abba"), (std::vector<int64_t>{3, 2, 1}));
  tokenizer["model"]["merges"] = {"a b"};
  EXPECT_EQ(ids(*load(tokenizer), "abba"), (std::vector<int64_t>{3, 2, 1}));
  tokenizer["model"]["merges"] = json::array();
  EXPECT_EQ(ids(*load(tokenizer), "ab"), (std::vector<int64_t>{1, 2}));
  tokenizer["model"]["ignore_merges"] = true;  // a word that is a token
  EXPECT_EQ(ids(*load(tokenizer), "ab"), (std::vector<int64_t>{3}));
  EXPECT_EQ(ids(*load(tokenizer), "abz"), (std::vector<int64_t>{1, 2}));  // no byte z
}

TEST_F(Load, BrokenBytePairsNameThePlace) {
  const auto with = [](const char* pointer, json value) {
    json tokenizer = tiny_byte_pairs();
    tokenizer[json::json_pointer(pointer)] = std::move(value);
    return tokenizer;
  };
  EXPECT_THAT(error_of(with("/model/merges/0", json::array({"a", "c"}))),
              HasSubstr("model.merges[0]: the token \"c\""));
  EXPECT_THAT(error_of(with("/model/merges/0", json::array({"b", "a"}))), HasSubstr("\"ba\""));
  EXPECT_THAT(error_of(with("/model/merges/0", "a b c")), HasSubstr("model.merges[0]: expected"));
  EXPECT_THAT(error_of(with("/model/merges/0", 3)), HasSubstr("model.merges[0]: expected"));
  EXPECT_THAT(error_of(with("/model/byte_fallback", true)), HasSubstr("model.byte_fallback"));
  EXPECT_THAT(error_of(with("/model/dropout", 0.1)), HasSubstr("model.dropout"));
  EXPECT_THAT(error_of(with("/model/end_of_word_suffix", "</w>")), HasSubstr("end_of_word_suffix"));
  EXPECT_THAT(error_of(with("/pre_tokenizer", nullptr)), HasSubstr("ByteLevel"));
  const json split = {{"type", "Split"},
                      {"behavior", "Isolated"},
                      {"invert", false},
                      {"pattern", {{"Regex", "(a"}}}};
  const json sequence = {{"type", "Sequence"}, {"pretokenizers", {split}}};
  EXPECT_THAT(error_of(with("/pre_tokenizer", sequence)),
              AllOf(HasSubstr("pretokenizers[0].pattern.Regex"), HasSubstr("\"(a\"")));
}

TEST_F(Load, BrokenMergesTxtNamesTheLine) {
  folder_.write("vocab.json", R"({"<s>": 0, "</s>": 1, "<pad>": 2, "<unk>": 3, "<mask>": 4,
                                  "a": 5, "b": 6, "ab": 7})");
  folder_.write("tokenizer_config.json", R"({"tokenizer_class": "RobertaTokenizerFast"})");
  folder_.write("merges.txt", "#version: 0.2\na b\n");
  EXPECT_EQ(ids(*load(), "ab <mask>"), (std::vector<int64_t>{0, 7, 4, 1}));
  folder_.write("merges.txt", "#version: 0.2\na b\na c\n");
  EXPECT_THAT(error_of_loading(), HasSubstr("merges.txt:3: the token \"c\""));
  folder_.write("merges.txt", "a b\nab\n");
  EXPECT_THAT(error_of_loading(), HasSubstr("merges.txt:2: expected two tokens"));
  folder_.write("merges.txt", "a b\na \xFF\n");  // latin-1, or no text at all
  EXPECT_THAT(error_of_loading(), HasSubstr("merges.txt:2: not valid UTF-8"));
  folder_.write("merges.txt", "");
  folder_.write("tokenizer_config.json", R"({"tokenizer_class": "CLIPTokenizer"})");
  EXPECT_THAT(error_of_loading(),
              AllOf(HasSubstr("\"CLIPTokenizer\""), HasSubstr("tokenizer.json")));
  folder_.write("tokenizer_config.json",
                R"({"tokenizer_class": "RobertaTokenizer", "mask_token": "[M]"})");
  EXPECT_THAT(error_of_loading(), HasSubstr("no token \"[M]\", the mask_token"));
}

TEST_F(Load, UnknownKeysAreNamedOnce) {
  folder_.write("tokenizer_config.json", R"({"do_lower_cas": true, "_commit_hash": "x"})");
  json tokenizer = tiny_tokenizer();
  tokenizer["model"]["vocabulary"] = 3;
  const auto notes = load(tokenizer)->notes();
  ASSERT_EQ(notes.size(), 2u);
  EXPECT_THAT(notes[0], HasSubstr("tokenizer_config.json: not known to quell and left aside: "
                                  "do_lower_cas"));
  EXPECT_THAT(notes[1], HasSubstr("tokenizer.json: model: not known"));
}

TEST_F(Load, ClassesThatBuildInTheirOwnWayAreRefused) {
  folder_.write("tokenizer_config.json", R"({"tokenizer_class": "MPNetTokenizerFast"})");
  EXPECT_THAT(error_of(tiny_tokenizer()),
              AllOf(HasSubstr("\"MPNetTokenizerFast\""), HasSubstr("PreTrainedTokenizerFast")));
}

// A regular expression that needs 2^n steps.
TEST_F(Load, SlowRegularExpressionsAreStopped) {
  json tokenizer = tiny_tokenizer();
  tokenizer["pre_tokenizer"] = {{"type", "Split"},
                                {"behavior", "Isolated"},
                                {"invert", false},
                                {"pattern", {{"Regex", "(a|a)*(a|a)*(a|a)*c"}}}};
  const auto loaded = load(tokenizer);
  EXPECT_THROW(ids(*loaded, std::string(3000, 'a')), DataError);
}

TEST_F(Load, FolderWithoutATokenizerSaysWhatIsExpected) {
  EXPECT_THAT(error_of_loading(), AllOf(HasSubstr("tokenizer.json"), HasSubstr("vocab.txt")));
}

}  // namespace
}  // namespace quell
