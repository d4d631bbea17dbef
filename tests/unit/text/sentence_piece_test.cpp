// tokenizer.model of SentencePiece, alone in a folder, against the tokenizer.json that transformers
// made of it.
#include "framework/text/sentence_piece.h"

#include <gmock/gmock.h>

#include <bit>
#include <fstream>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/json/json.h"
#include "framework/text/tokenizer.h"
#include "tests/support/paths.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

fs::path data() { return source_folder() / "tests/data/tokenizers"; }

class SentencePieceTest : public testing::Test {
 protected:
  // A folder with the model's file alone, and what tokenizer_config.json says.
  std::unique_ptr<Tokenizer> load(const std::string& content, const std::string& config) {
    folder_.write("tokenizer.model", content);
    folder_.write("tokenizer_config.json", config);
    return load_tokenizer(folder_.path());
  }
  std::string refusal(const std::string& content) {
    return message_of<DataError>([&] { load(content, "{}"); });
  }
  static std::string stored() { return read_file(data() / "sentence_piece/tokenizer.model"); }

  TemporaryFolder folder_;
};

TEST_F(SentencePieceTest, SaysWhatTheTokenizerJsonMadeOfItSays) {
  const fs::path file = data() / "sentence_piece/tokenizer.model";
  const json made = tokenizer_json_of(read_sentence_piece(file), file, true, false);
  const json expected = read_json_file(data() / "llama/tokenizer.json");
  for (const char* part : {"added_tokens", "normalizer", "post_processor", "decoder"}) {
    EXPECT_EQ(made[part], expected[part]) << part;
  }
  for (const char* part : {"type", "unk_token", "fuse_unk", "byte_fallback", "vocab", "merges"}) {
    EXPECT_EQ(made["model"][part], expected["model"][part]) << part;
  }
}

TEST_F(SentencePieceTest, HasTheIdsOfTransformers) {
  const auto tokenizer = load(stored(), R"({"tokenizer_class": "LlamaTokenizer"})");
  std::ifstream lines(data() / "tok_llama_subset.jsonl");
  int64_t compared = 0;
  for (std::string line; std::getline(lines, line);) {
    const json golden = json::parse(line);
    const json& windows = golden["windows"];
    if (windows.size() != 1 || golden.contains("pair") || golden["op"].contains("max_length"))
      continue;
    const bool special = golden["op"].value("special", true);
    const Encoding found =
        tokenizer
            ->encode(golden["text"].get<std::string>(), std::nullopt, {.special_tokens = special})
            .front();
    EXPECT_EQ(json(found.ids), windows[0]["ids"]) << line;
    if (golden.contains("decoded_skip")) {
      EXPECT_EQ(tokenizer->decode(found.ids, true), golden["decoded_skip"]) << line;
    }
    ++compared;
  }
  EXPECT_GT(compared, 50);
}

TEST_F(SentencePieceTest, BeginsTextsAsTheConfigurationSays) {
  const auto ids = [&](const std::string& config) {
    return load(stored(), config)->encode("a", std::nullopt, {}).front().ids;
  };
  const std::vector<int64_t> plain = ids("{}");
  const auto with = [&](std::vector<int64_t> around, bool end) {
    around.insert(around.begin() + 1, plain.begin(), plain.end());
    if (end) around.push_back(2);
    return around;
  };
  EXPECT_EQ(ids(R"({"add_bos_token": true})"), with({1}, false));
  EXPECT_EQ(ids(R"({"tokenizer_class": "LlamaTokenizer"})"), with({1}, false));
  EXPECT_EQ(ids(R"({"tokenizer_class": "LlamaTokenizer", "add_eos_token": true})"),
            with({1}, true));
  EXPECT_EQ(ids(R"({"tokenizer_class": "LlamaTokenizer", "add_bos_token": false})"), plain);
}

// Messages of a protocol buffer.
std::string field(int number, int wire, const std::string& content) {
  return std::string(1, static_cast<char>(number << 3 | wire)) + content;
}
std::string text_field(int number, const std::string& content) {
  return field(number, 2, std::string(1, static_cast<char>(content.size())) + content);
}
std::string piece(const std::string& text, float score, int kind) {
  const auto bits = std::bit_cast<uint32_t>(score);
  std::string bytes;
  for (int i = 0; i < 4; ++i) bytes += static_cast<char>(bits >> (8 * i));
  return text_field(1, text_field(1, text) + field(2, 5, bytes) +
                           field(3, 0, std::string(1, static_cast<char>(kind))));
}
std::string trainer(int algorithm) {
  return text_field(2, field(3, 0, std::string(1, static_cast<char>(algorithm))));
}
const std::string kKeepsBlanks = text_field(3, field(4, 0, std::string(1, '\0')));

TEST_F(SentencePieceTest, RefusesWhatItCannotRead) {
  const std::string pieces = piece("<unk>", 0, 2) + piece("a", -1, 1) + piece("b", -2, 1);
  const auto tokenizer = load(pieces + trainer(2) + kKeepsBlanks, "{}");
  EXPECT_EQ(tokenizer->vocabulary_size(), 3);
  EXPECT_THAT(refusal(pieces + trainer(1) + kKeepsBlanks), HasSubstr("another algorithm"));
  EXPECT_THAT(refusal(pieces + trainer(9) + kKeepsBlanks), HasSubstr("9 is not in [1, 4]"));
  EXPECT_THAT(refusal(pieces + trainer(2)), HasSubstr("removes blanks"));
  EXPECT_THAT(refusal(pieces + pieces + trainer(2) + kKeepsBlanks),
              HasSubstr("stands there twice"));
  EXPECT_THAT(refusal(piece("a", 0, 1) + trainer(2) + kKeepsBlanks), HasSubstr("what is unknown"));
  EXPECT_THAT(refusal(piece("\xff", 0, 1)), HasSubstr("UTF-8"));
  EXPECT_THAT(refusal(piece("a", NAN, 1)), HasSubstr("finite score"));
  EXPECT_THAT(refusal(""), HasSubstr("no pieces"));
  EXPECT_THAT(refusal(field(1, 0, "\x05")), HasSubstr("neither text nor message"));
  EXPECT_THAT(refusal(std::string(11, '\xff')), HasSubstr("more than 64 bits"));
  EXPECT_THAT(refusal(field(1, 3, "")), HasSubstr("wire type 3"));
}

TEST_F(SentencePieceTest, RefusesWhatIsCutOff) {
  const std::string whole = piece("<unk>", 0, 2) + piece("a", -1, 1) + trainer(2) + kKeepsBlanks;
  for (size_t size = 0; size < whole.size(); ++size) {
    folder_.write("tokenizer.model", whole.substr(0, size));
    try {
      load_tokenizer(folder_.path());
      ADD_FAILURE() << size << " bytes were enough";
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr("tokenizer.model"));
    }
  }
}

}  // namespace
}  // namespace quell
