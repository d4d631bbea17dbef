// Every key of tokenizer files against what transformers makes of it: the same ids and types, or an
// error that names it. tests/python/tokenizer_keys.py wrote the results.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>
#include <optional>
#include <set>

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

// Names of files and keys, and texts, in a change.
void collect_words(const json& value, std::set<std::string>& words) {
  if (value.is_string()) words.insert(value.get<std::string>());
  if (!value.is_structured()) return;
  if (value.contains("path")) {  // a step of a JSON Patch
    const auto path = value["path"].get<std::string>();
    words.insert(path.substr(path.rfind('/') + 1));
  }
  for (const auto& [key, part] : value.items()) {
    if (value.is_object()) words.insert(key);
    collect_words(part, words);
  }
}

bool says_what(const std::string& refusal, const json& change) {
  std::set<std::string> words;
  collect_words(change, words);
  return std::any_of(words.begin(), words.end(), [&](const std::string& word) {
    return word.size() > 2 && refusal.find(word) != std::string::npos;
  });
}

struct Counts {
  int same = 0, refused = 0, impossible = 0;
};

// Every folder of a file gives what transformers gives, or a refusal that says what it is about.
Counts compare(const std::string& file_name) {
  std::ifstream file(test::data_folder() / "../keys" / file_name);
  std::string line;
  EXPECT_TRUE(std::getline(file, line));
  const json head = json::parse(line);
  std::map<std::string, json> known;
  Counts counts;
  while (std::getline(file, line)) {
    const json example = json::parse(line);
    const auto result = example["result"].get<std::string>();
    if (example.contains("found")) known[result] = example["found"];
    const json &expected = known.at(result), &change = example["change"];
    const std::string shown = example["base"].get<std::string>() + " " + change.dump();
    const test::TemporaryFolder folder;
    write(folder, changed_files(head["bases"][example["base"].get<std::string>()], change));
    try {
      const json found =
          results(*load_tokenizer(folder.path()), example.value("texts", head["texts"]));
      EXPECT_TRUE(expected.is_null() || found == expected)
          << shown << "\nfound    " << found.dump() << "\nexpected " << expected.dump();
      ++(expected.is_null() ? counts.impossible : counts.same);
    } catch (const DataError& error) {
      EXPECT_TRUE(says_what(error.what(), change)) << shown << ": " << error.what();
      ++(expected.is_null() ? counts.impossible : counts.refused);
    }
  }
  printf("%s: %d the same, %d refused, %d that transformers does not load\n", file_name.c_str(),
         counts.same, counts.refused, counts.impossible);
  return counts;
}

TEST(TokenizerKeys, AreHonouredAsByTransformersOrRefused) {
  // An error alone is no support.
  EXPECT_GE(compare("tokenizers.jsonl").same, 2600);
}

TEST(TokenizerKeys, FoldersWithTheFewestFilesAndTokensOutsideOfThem) {
  EXPECT_GE(compare("tokenizer_folders.jsonl").same, 20);
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

// What decode() of transformers 5.24 gives with BERT's vocabulary.
TEST(TokenizerKeys, BlanksOfWrittenTextsAreCleanedUpWhereTheFileSaysSo) {
  for (const bool cleans_up : {true, false}) {
    const auto tokenizer = test::bert_with({{"clean_up_tokenization_spaces", cleans_up}});
    const auto ids = tokenizer->encode("It's so, we do not ' know ' n't (5.0) !", {}, {}).at(0).ids;
    EXPECT_EQ(tokenizer->decode(ids, true), cleans_up
                                                ? "it's so, we do not'know'n't ( 5. 0 )!"
                                                : "it ' s so, we do not ' know ' n ' t ( 5. 0 )!");
  }
}

}  // namespace
}  // namespace quell
