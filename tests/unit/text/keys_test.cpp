// Every key of tokenizer files against what transformers makes of it: the same ids and types, or an
// error. tests/python/tokenizer_keys.py wrote the results.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <map>
#include <optional>

#include "framework/base/error.h"
#include "framework/text/tokenizer.h"
#include "tests/unit/text/support.h"

namespace quell {
namespace {

using nlohmann::json;

// The files of a base with the changes of a case: a list is a JSON Patch, null takes a file away.
std::map<std::string, json> changed_files(const json& base, const json& change) {
  std::map<std::string, json> files;
  for (const auto& [name, content] : base.items()) files[name] = content;
  for (const auto& [name, content] : change.items()) {
    files[name] = content.is_array() ? files[name].patch(content) : content;
  }
  return files;
}

void write(const test::TemporaryFolder& folder, const std::map<std::string, json>& files) {
  for (const auto& [name, content] : files) {
    if (content.is_null()) continue;
    folder.write(name, content.is_string() ? content.get<std::string>() : content.dump());
  }
}

// [[ids, types], ...] of the texts.
json results(const Tokenizer& tokenizer, const json& texts) {
  json found = json::array();
  for (const json& text : texts) {
    std::optional<std::string> pair;
    if (text.size() > 1) pair = text[1].get<std::string>();
    const Encoding encoding = tokenizer.encode(text[0].get<std::string>(), pair, {}).at(0);
    found.push_back({encoding.ids, encoding.type_ids});
  }
  return found;
}

TEST(TokenizerKeys, AreHonouredAsByTransformersOrRefused) {
  std::ifstream file(test::data_folder() / "../keys/tokenizers.jsonl");
  std::string line;
  ASSERT_TRUE(std::getline(file, line));
  const json head = json::parse(line);
  std::map<std::string, json> known;
  int same = 0, refused = 0, different = 0, impossible = 0;
  while (std::getline(file, line)) {
    const json example = json::parse(line);
    const auto result = example["result"].get<std::string>();
    if (example.contains("found")) known[result] = example["found"];
    const json& expected = known.at(result);
    const std::string base = example["base"].get<std::string>();
    const test::TemporaryFolder folder;
    write(folder, changed_files(head["bases"][base], example["change"]));
    try {
      const json texts = example.value("texts", head["texts"]);
      const json found = results(*load_tokenizer(folder.path()), texts);
      if (expected.is_null()) {
        ++impossible;
      } else if (found == expected) {
        ++same;
      } else {
        ++different;
        ADD_FAILURE() << base << " " << example["change"].dump() << "\nfound    " << found.dump()
                      << "\nexpected " << expected.dump();
      }
    } catch (const DataError& error) {
      const bool is_plain = example["change"].empty();
      EXPECT_FALSE(is_plain) << base << ": " << error.what();
      expected.is_null() ? ++impossible : ++refused;
    }
  }
  RecordProperty("same", same);
  RecordProperty("refused", refused);
  RecordProperty("impossible", impossible);
  EXPECT_EQ(different, 0);
  // Most must be the same: an error alone is no support.
  EXPECT_GT(same, refused);
  printf("%d the same, %d refused, %d that transformers does not load, %d different\n", same,
         refused, impossible, different);
}

// Folders that users reported, with the ids of transformers 5.24.
TEST(TokenizerKeys, FoldersOfReportsGiveTheIdsOfTransformers) {
  const auto cases = test::read_json_lines(test::data_folder() / "../keys/reported_folders.jsonl");
  ASSERT_EQ(cases.size(), 8u);
  for (const json& example : cases) {
    SCOPED_TRACE(example["name"]);
    const test::TemporaryFolder folder;
    write(folder, changed_files(example["files"], json::object()));
    const auto tokenizer = load_tokenizer(folder.path());
    for (size_t i = 0; i < example["lines"].size(); ++i) {
      const auto text = example["lines"][i].get<std::string>();
      EXPECT_EQ(json(tokenizer->encode(text, std::nullopt, {}).at(0).ids), example["ids"][i]);
    }
  }
}

// A BERT or a RoBERTa whose tokenizer gives no types takes type 0 for both texts.
TEST(TokenizerKeys, WithoutTokenTypeIdsAllTypesAreZero) {
  for (const bool has_types : {true, false}) {
    json names = json::array({"input_ids", "attention_mask"});
    if (has_types) names.push_back("token_type_ids");
    const auto tokenizer = test::bert_with({{"model_input_names", names}});
    const Encoding encoding = tokenizer->encode("a", "b", {}).at(0);
    EXPECT_EQ(encoding.type_ids, has_types ? (std::vector<int64_t>{0, 0, 0, 1, 1})
                                           : (std::vector<int64_t>{0, 0, 0, 0, 0}));
  }
}

}  // namespace
}  // namespace quell
