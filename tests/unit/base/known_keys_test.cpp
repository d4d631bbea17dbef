#include "framework/base/known_keys.h"

#include <gmock/gmock.h>
#include <array>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"

namespace quell {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

constexpr std::array<KnownKey, 4> kKeys = {{
    {"size", KeyStatus::kHonoured},
    {"kind", KeyStatus::kOnly, R"([null, "absolute", 1])", "train it anew"},
    {"dropout", KeyStatus::kNoEffect, "", "nothing is trained | here"},
    {"_*", KeyStatus::kNoEffect, "", "where it came from"},
}};
constexpr std::array<KnownKey, 1> kFamilyKeys = {{
    {"kind", KeyStatus::kHonoured},
}};
const KeyTable kTable{"config.json", kKeys}, kFamily{"config.json: family", kFamilyKeys};

std::vector<std::string> check(const json& object) {
  std::vector<std::string> notes;
  check_keys(object, {kTable}, "folder/config.json", notes);
  return notes;
}

std::string error_of(const json& object) {
  try {
    check(object);
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

TEST(KnownKeys, AcceptsWhatTheTableAccepts) {
  for (const json& kind : {json(nullptr), json("absolute"), json(1), json(1.0)}) {
    EXPECT_THAT(check({{"kind", kind}, {"size", 3}, {"dropout", 0.1}, {"_x", 1}}),
                testing::IsEmpty());
  }
  EXPECT_THAT(check(json::object()), testing::IsEmpty());
}

TEST(KnownKeys, RefusesOtherValuesWithTheWayOut) {
  EXPECT_EQ(error_of({{"kind", "relative"}}),
            R"(folder/config.json: kind: found "relative", expected null or "absolute" or 1; )"
            "train it anew");
  EXPECT_THAT(error_of({{"kind", true}}), HasSubstr("found true"));
  const std::string error = error_of({{"kind", std::string(1000, 'x')}});
  EXPECT_LT(error.size(), 250U);
  EXPECT_THAT(error, HasSubstr("train it anew"));
  EXPECT_THAT(error_of(json::array()), HasSubstr("folder/config.json: expected an object"));
}

TEST(KnownKeys, NamesTheKeysThatNoTableHas) {
  const auto notes = check({{"typo", 1}, {"sizes", 2}, {"size", 3}, {"_y", 4}});
  ASSERT_EQ(notes.size(), 1U);
  EXPECT_EQ(notes[0], "folder/config.json: not known to quell and left aside: sizes, typo");
}

TEST(KnownKeys, TheFirstTableThatKnowsAKeyDecides) {
  std::vector<std::string> notes;
  check_keys({{"kind", "relative"}}, {kFamily, kTable}, "f", notes);
  EXPECT_THROW(check_keys({{"kind", "relative"}}, {kTable, kFamily}, "f", notes), DataError);
  EXPECT_THAT(notes, testing::IsEmpty());
}

TEST(KnownKeys, NamesPlacesInsideOfAFile) {
  std::vector<std::string> notes;
  check_keys({{"typo", 1}}, {kTable}, "a.json: model.", notes);
  EXPECT_EQ(notes.at(0), "a.json: model: not known to quell and left aside: typo");
  try {
    check_keys({{"kind", 2}}, {kTable}, "a.json: model.", notes);
    FAIL();
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("a.json: model.kind: found 2"));
  }
}

TEST(KnownKeys, StarsStandForBeginningsAndEnds) {
  const std::array<KnownKey, 2> keys = {
      {{"*_token", KeyStatus::kHonoured}, {"*", KeyStatus::kOnly, "[null]", "remove it"}}};
  std::vector<std::string> notes;
  check_keys({{"x_token", 1}, {"y", nullptr}}, {{"", keys}}, "f", notes);
  EXPECT_THROW(check_keys({{"y", 1}}, {{"", keys}}, "f", notes), DataError);
}

TEST(KnownKeys, PrintsTables) {
  const std::array<KeyTable, 2> tables = {kTable, kFamily};
  const std::string text = keys_markdown(tables);
  EXPECT_THAT(text, HasSubstr("| config.json | 1 | 1 | 2 |\n"));
  EXPECT_THAT(text, HasSubstr("| config.json: family | 1 | 0 | 0 |\n"));
  EXPECT_THAT(text, HasSubstr("## config.json: family\n"));
  EXPECT_THAT(text, HasSubstr("| `kind` | only | `null or \"absolute\" or 1` | train it anew |\n"));
  EXPECT_THAT(text, HasSubstr(R"(| `dropout` | no effect |  | nothing is trained \| here |)"));
}

}  // namespace
}  // namespace quell
