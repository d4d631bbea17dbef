// The whole tokenizer against what the Hugging Face library makes of the same texts.
#include "framework/text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "framework/base/error.h"
#include "framework/text/tokenize_lines.h"
#include "tests/unit/text/support.h"

namespace quell {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

// Runs every case through `tokenize_lines`, which reads them as they are, and compares. Returns
// the number of cases.
size_t check_goldens(const Tokenizer& tokenizer, const std::filesystem::path& file) {
  const std::vector<json> cases = test::read_json_lines(file);
  std::stringstream in(read_file(file)), out;
  tokenize_lines(tokenizer, in, file.string(), out, {});
  for (const json& expected : cases) {
    std::string line;
    EXPECT_TRUE(std::getline(out, line));
    const json found = json::parse(line);
    SCOPED_TRACE(expected.dump().substr(0, 300));
    EXPECT_EQ(found.contains("error"), expected.contains("error"));
    if (expected.contains("error") || found.contains("error")) continue;
    const json windows = found.contains("windows") ? found["windows"] : json::array({found});
    EXPECT_EQ(windows.size(), expected["windows"].size());
    for (size_t i = 0; i < std::min(windows.size(), expected["windows"].size()); ++i) {
      const json& window = expected["windows"][i];
      EXPECT_EQ(windows[i]["ids"], window["ids"]);
      EXPECT_EQ(windows[i]["offsets"], window["off"]);
      const std::vector<int> zeros(window["ids"].size(), 0);
      EXPECT_EQ(windows[i]["types"], window.value("type", json(zeros)));
      if (window.contains("seq")) {
        EXPECT_EQ(windows[i]["sequence"], window["seq"]);
      }
      for (const char* key : {"decoded", "decoded_skip"}) {
        if (window.contains(key)) {
          EXPECT_EQ(windows[i][key], window[key]);
        }
      }
    }
    for (const char* key : {"decoded", "decoded_skip"}) {
      if (expected.contains(key)) {
        EXPECT_EQ(found[key], expected[key]);
      }
    }
  }
  return cases.size();
}

class BertTokenizer : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    tokenizer_ = load_tokenizer(test::data_folder() / "bert").release();
  }
  static void TearDownTestSuite() { delete tokenizer_; }
  static Tokenizer* tokenizer_;
};
Tokenizer* BertTokenizer::tokenizer_ = nullptr;

TEST_F(BertTokenizer, EqualsTheLibraryOnTheSubset) {
  EXPECT_EQ(check_goldens(*tokenizer_, test::data_folder() / "tok_bert_subset.jsonl"), 258u);
}

TEST_F(BertTokenizer, EqualsTheLibraryInCutting) {
  EXPECT_EQ(check_goldens(*tokenizer_, test::data_folder() / "truncation.jsonl"), 300u);
}

TEST_F(BertTokenizer, EqualsTheLibraryOnAllGoldens) {
  const auto file = test::shared_goldens() / "tok_bert.jsonl";
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "needs " << file;
  EXPECT_EQ(check_goldens(*tokenizer_, file), 786u);
  const auto from_json = load_tokenizer(test::shared_goldens() / "tokenizers/bert");
  check_goldens(*from_json, file);
}

// vocab.json and merges.txt in the place of the tokenizer.json that says the same.
std::unique_ptr<Tokenizer> from_vocab_json(const json& tokenizer, const json& config) {
  const test::TemporaryFolder folder;
  std::string merges = "#version: 0.2\n";
  for (const json& pair : tokenizer["model"]["merges"]) {
    merges += pair[0].get<std::string>() + " " + pair[1].get<std::string>() + "\n";
  }
  folder.write("vocab.json", tokenizer["model"]["vocab"].dump());
  folder.write("merges.txt", merges);
  folder.write("tokenizer_config.json", config.dump());
  return load_tokenizer(folder.path());
}

json byte_level_json() {
  return json::parse(read_file(test::data_folder() / "byte_level/tokenizer.json"));
}

TEST(ByteLevelTokenizer, EqualsTheLibraryOnTheSubset) {
  const auto file = test::data_folder() / "tok_byte_level_subset.jsonl";
  EXPECT_EQ(check_goldens(*load_tokenizer(test::data_folder() / "byte_level"), file), 228u);
  // Without tokenizer.json a file has to say that <mask> takes the blank before it along.
  json config = {
      {"tokenizer_class", "RobertaTokenizer"},
      {"mask_token", {{"__type", "AddedToken"}, {"content", "<mask>"}, {"lstrip", true}}}};
  check_goldens(*from_vocab_json(byte_level_json(), config), file);
  config["mask_token"] = "<mask>";
  const auto plain = from_vocab_json(byte_level_json(), config);
  EXPECT_EQ(plain->encode("x<mask>y <mask>", std::nullopt, {}).at(0).ids,
            (std::vector<int64_t>{0, 91, 5999, 92, 224, 5999, 2}));
}

TEST(ByteLevelTokenizer, EqualsTheLibraryOnAllGoldens) {
  const auto file = test::shared_goldens() / "tok_bbpe.jsonl";
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "needs " << file;
  EXPECT_EQ(check_goldens(*load_tokenizer(test::shared_goldens() / "tokenizers/bbpe"), file), 786u);
}

// LLaMA's spells characters and falls back to bytes.
TEST(BytePairTokenizer, EqualsTheLibraryOnTheSubsetOfLlama) {
  const auto file = test::data_folder() / "tok_llama_subset.jsonl";
  EXPECT_EQ(check_goldens(*load_tokenizer(test::data_folder() / "llama"), file), 113u);
  // The class has other blanks in transformers 5, unless SentencePiece's file is there, too.
  const test::TemporaryFolder folder;
  folder.write("tokenizer.json", read_file(test::data_folder() / "llama/tokenizer.json"));
  folder.write("tokenizer_config.json", json{{"tokenizer_class", "LlamaTokenizer"},
                                             {"model_input_names", {"input_ids", "token_type_ids"}}}
                                            .dump());
  const auto rebuilt = load_tokenizer(folder.path());
  EXPECT_EQ(rebuilt->encode(" a", std::nullopt, {}).at(0).ids.size(), 2u);
  EXPECT_EQ(rebuilt->bos_id(), 1);
  EXPECT_EQ(rebuilt->eos_id(), 2);
  folder.write("tokenizer.model", "");
  check_goldens(*load_tokenizer(folder.path()), file);
}

TEST(BytePairTokenizer, EqualsTheLibraryOnAllGoldensOfLlama) {
  const auto file = test::shared_goldens() / "tok_llama.jsonl";
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "needs " << file;
  EXPECT_EQ(check_goldens(*load_tokenizer(test::shared_goldens() / "tokenizers/llama"), file),
            504u);
}

// Prefix space, trimming of offsets, post-processors, a split by another pattern.
TEST(ByteLevelTokenizer, EqualsTheLibraryInAllVariants) {
  const json base = byte_level_json();
  std::map<std::string, std::unique_ptr<Tokenizer>> tokenizers;
  for (const json& expected :
       test::read_json_lines(test::data_folder() / "byte_level_variants.jsonl")) {
    auto& tokenizer =
        tokenizers[expected["pre_tokenizer"].dump() + expected["post_processor"].dump()];
    if (!tokenizer) {
      json variant = base;
      for (const char* part : {"pre_tokenizer", "post_processor"}) variant[part] = expected[part];
      const test::TemporaryFolder folder;
      folder.write("tokenizer.json", variant.dump());
      tokenizer = load_tokenizer(folder.path());
    }
    const Encoding found =
        tokenizer->encode(expected["text"].get<std::string>(), std::nullopt, {}).at(0);
    SCOPED_TRACE(expected.dump());
    EXPECT_EQ(json(found.ids), expected["ids"]);
    EXPECT_EQ(json(found.offsets), expected["off"]);
  }
  EXPECT_EQ(tokenizers.size(), 19u);
}

TEST(ByteLevelTokenizer, Gpt2HasNoSpecialTokensUnlessTold) {
  json tokenizer = byte_level_json();
  const json names = {{"bos_token", "</s>"}, {"eos_token", "</s>"}, {"unk_token", "<unk>"}};
  json config = names;
  config["tokenizer_class"] = "GPT2Tokenizer";
  const auto plain = from_vocab_json(tokenizer, config);
  config["add_bos_token"] = true;
  const auto opt = from_vocab_json(tokenizer, config);
  const std::vector<int64_t> ids = plain->encode("ab", std::nullopt, {}).at(0).ids;
  std::vector<int64_t> with_bos = {2};
  with_bos.insert(with_bos.end(), ids.begin(), ids.end());
  EXPECT_EQ(opt->encode("ab", std::nullopt, {}).at(0).ids, with_bos);
  EXPECT_EQ(plain->pad_id(), 2);  // none is named: the end of a text
}

// Half a character has both its offsets; decoding needs both halves.
TEST(ByteLevelTokenizer, DecodesBytes) {
  const auto tokenizer = load_tokenizer(test::data_folder() / "byte_level");
  const std::string text = "na\xC3\xAFve \xF0\x9F\x98\x80 <s> \t";
  const Encoding found = tokenizer->encode(text, std::nullopt, {.special_tokens = false}).at(0);
  EXPECT_EQ(tokenizer->decode(found.ids, false), text);
  std::vector<int64_t> cut = tokenizer->encode("\xC3\xAF", std::nullopt, {}).at(0).ids;
  if (cut.size() > 3) cut.resize(2);
  EXPECT_EQ(tokenizer->decode(cut, true), "\xEF\xBF\xBD");
}

// A word without blanks must not take quadratic time.
TEST(ByteLevelTokenizer, LongWordsStayFast) {
  const auto tokenizer = load_tokenizer(test::data_folder() / "byte_level");
  const std::string word(1'000'000, 'a');
  EXPECT_GT(tokenizer->encode(word, std::nullopt, {}).at(0).ids.size(), 1000u);
}

TEST(BertTokenizerVariants, EqualTheLibraryOnHostileStrings) {
  std::map<std::string, std::unique_ptr<Tokenizer>> tokenizers;
  for (const json& expected : test::read_json_lines(test::data_folder() / "hostile.jsonl")) {
    const json config = {{"do_lower_case", expected["lower"]},
                         {"strip_accents", expected["strip"]}};
    auto& tokenizer = tokenizers[config.dump()];
    if (!tokenizer) tokenizer = test::bert_with(config);
    const Encoding found =
        tokenizer->encode(expected["text"].get<std::string>(), std::nullopt, {}).at(0);
    SCOPED_TRACE(expected.dump());
    EXPECT_EQ(json(found.ids), expected["ids"]);
    EXPECT_EQ(json(found.offsets), expected["off"]);
  }
  EXPECT_EQ(tokenizers.size(), 6u);
}

TEST_F(BertTokenizer, EmptyPairIsAPair) {
  EXPECT_EQ(tokenizer_->encode("hello", "", {})[0].ids,
            (std::vector<int64_t>{101, 7592, 102, 102}));
  EXPECT_EQ(tokenizer_->encode("hello", std::nullopt, {})[0].ids,
            (std::vector<int64_t>{101, 7592, 102}));
}

TEST_F(BertTokenizer, SpecialTokensInsideATextAreFoundCaseSensitively) {
  const Encoding found = tokenizer_->encode("a [MASK] [mask]", std::nullopt, {})[0];
  EXPECT_EQ(found.tokens,
            (std::vector<std::string>{"[CLS]", "a", "[MASK]", "[", "mask", "]", "[SEP]"}));
  EXPECT_EQ(found.sequence, (std::vector<int>{-1, 0, 0, 0, 0, 0, -1}));
}

TEST_F(BertTokenizer, InvalidBytesCountOnePerMaximalPart) {
  // E2 82 is one broken part, the two FF are one each: "a" 3 parts "b".
  const Encoding found = tokenizer_->encode("a \xE2\x82 \xFF\xFF b", std::nullopt, {})[0];
  EXPECT_EQ(found.tokens, (std::vector<std::string>{"[CLS]", "a", "b", "[SEP]"}));
  EXPECT_EQ(found.offsets[2], (std::pair<int64_t, int64_t>{7, 8}));
  // An encoded surrogate is three parts.
  EXPECT_EQ(tokenizer_->encode("\xED\xA0\x80 b", std::nullopt, {})[0].offsets[1],
            (std::pair<int64_t, int64_t>{4, 5}));
}

TEST_F(BertTokenizer, WindowsOfATextCoverItAndOverlapByTheStride) {
  std::string text;
  for (int i = 0; i < 100; ++i) text.append("w").append(std::to_string(i)).append(" ");
  const Encoding whole = tokenizer_->encode(text, std::nullopt, {.special_tokens = false})[0];
  const auto windows = tokenizer_->encode(
      text, std::nullopt,
      {.special_tokens = false, .max_length = 20, .stride = 7, .overflow = true});
  std::vector<int64_t> joined = windows[0].ids;
  for (size_t i = 1; i < windows.size(); ++i) {
    const auto& ids = windows[i].ids;
    EXPECT_TRUE(std::equal(ids.begin(), ids.begin() + 7, joined.end() - 7));
    joined.insert(joined.end(), ids.begin() + 7, ids.end());
  }
  EXPECT_EQ(joined, whole.ids);
}

TEST_F(BertTokenizer, DecodingGivesCleanTextBack) {
  const std::string text = "the quick brown fox jumps over the lazy dog, doesn ' t it? unaffable!";
  const Encoding found = tokenizer_->encode(text, std::nullopt, {})[0];
  EXPECT_EQ(tokenizer_->decode(found.ids, true), text);
  EXPECT_EQ(tokenizer_->decode({-1, 7592, 30522, 1LL << 40}, false), "hello");
}

TEST_F(BertTokenizer, KnowsItsSizes) {
  EXPECT_EQ(tokenizer_->vocabulary_size(), 30522);
  EXPECT_EQ(tokenizer_->largest_id(), 30521);
  EXPECT_EQ(tokenizer_->pad_id(), 0);
  EXPECT_EQ(tokenizer_->model_max_length(), std::nullopt);
}

TEST_F(BertTokenizer, RefusesOptionsThatFitNoText) {
  const auto encode = [&](TokenizerOptions options) {
    tokenizer_->encode("a b c", std::nullopt, options);
  };
  EXPECT_THROW(encode({.max_length = 1}), ConfigError);
  EXPECT_THROW(encode({.max_length = -5}), ConfigError);
  EXPECT_THROW(encode({.max_length = 8, .stride = -1}), ConfigError);
  EXPECT_THROW(encode({.max_length = 8, .stride = 7}), ConfigError);
  EXPECT_THROW(encode({.max_length = 4, .truncation = Truncation::kOnlySecond}), DataError);
  EXPECT_NO_THROW(encode({.max_length = 5, .truncation = Truncation::kOnlySecond}));
}

TEST_F(BertTokenizer, RefusesMillionsOfWindows) {
  std::string text;
  for (int i = 0; i < 2000; ++i) text += "a ";
  EXPECT_THROW(tokenizer_->encode(text, text, {.max_length = 5, .overflow = true}), DataError);
}

TEST_F(BertTokenizer, LongInputStaysFast) {
  // A word of a million letters is one unknown token.
  EXPECT_EQ(tokenizer_->encode(std::string(1000000, 'x'), std::nullopt, {})[0].ids,
            (std::vector<int64_t>{101, 100, 102}));
}

}  // namespace
}  // namespace quell
