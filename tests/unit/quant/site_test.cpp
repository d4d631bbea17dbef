#include "framework/quant/site.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "framework/base/error.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

Site site(const std::string& name, SiteKind kind, const std::string& alias = "") {
  Site result;
  result.name = name;
  result.kind = kind;
  result.alias = alias;
  return result;
}

const Site kGelu = site("encoder.11.ffn.gelu", SiteKind::kActivation, "encoder.last.ffn.gelu");
const Site kWord = site("embeddings.word", SiteKind::kWeight);

TEST(Site, KeyNamesKindAndPlace) {
  EXPECT_EQ(kGelu.key(), "activation:encoder.11.ffn.gelu");
  EXPECT_EQ(kWord.key(), "weight:embeddings.word");
}

TEST(Site, PatternsMatchTheWholeKey) {
  EXPECT_TRUE(matches(kGelu, "activation:encoder.11.ffn.gelu"));
  EXPECT_TRUE(matches(kGelu, "*"));
  EXPECT_TRUE(matches(kGelu, "activation:*"));
  EXPECT_TRUE(matches(kGelu, "*.gelu"));
  EXPECT_FALSE(matches(kGelu, "weight:*"));
  EXPECT_FALSE(matches(kGelu, "encoder.11.ffn.gelu"));
  EXPECT_FALSE(matches(kGelu, "activation:encoder.1.ffn.gelu"));
  EXPECT_FALSE(matches(kGelu, "activation:encoder.11.ffn"));
  EXPECT_FALSE(matches(kGelu, ""));
}

TEST(Site, CharactersAndClasses) {
  EXPECT_TRUE(matches(kGelu, "activation:encoder.1?.ffn.gelu"));
  EXPECT_TRUE(matches(kGelu, "activation:encoder.1[0-3].ffn.gelu"));
  EXPECT_FALSE(matches(kGelu, "activation:encoder.1[2-9].ffn.gelu"));
  EXPECT_TRUE(matches(kGelu, "activation:encoder.1[!2-9].ffn.gelu"));
}

TEST(Site, Alternatives) {
  EXPECT_TRUE(matches(kGelu, "activation:encoder.*.ffn.{gelu,norm}"));
  EXPECT_TRUE(matches(kGelu, "{weight,activation}:encoder.*.{attention,ffn}.{gelu,norm}"));
  EXPECT_FALSE(matches(kGelu, "activation:encoder.*.ffn.{output,norm}"));
  EXPECT_TRUE(matches(kWord, "weight:embeddings.{word,}"));
  EXPECT_FALSE(matches(kWord, "weight:embeddings.{}"));
}

// Each further group doubles their number: 30 of them would be a billion.
TEST(Site, AlternativesAreLimited) {
  std::string groups;
  for (int i = 0; i < 13; ++i) groups += "{,x}";
  EXPECT_TRUE(matches(kWord, "weight:embeddings.word" + groups));  // 8192
  for (int i = 0; i < 17; ++i) groups += "{,x}";
  EXPECT_THAT(message_of<ConfigError>([&] { matches(kWord, "weight:embeddings.word" + groups); }),
              testing::HasSubstr("stands for more than 10000 patterns"));
  // Many groups with one alternative each are one pattern.
  std::string plain = "weight:";
  for (int i = 0; i < 100'000; ++i) plain += "{}";
  EXPECT_TRUE(matches(kWord, plain + "embeddings.word"));
}

TEST(Site, BrokenPatternsMatchNothing) {
  for (const char* pattern : {"activation:encoder.{11.ffn.gelu", "activation:encoder.11}.ffn.gelu",
                              "activation:encoder.[11.ffn.gelu", "[", "{", "}", "\\"}) {
    EXPECT_FALSE(matches(kGelu, pattern)) << pattern;
  }
}

TEST(Site, TheLastLayerHasAnAlias) {
  EXPECT_TRUE(matches(kGelu, "activation:encoder.last.ffn.*"));
  EXPECT_FALSE(matches(kWord, "weight:*last*"));
}

}  // namespace
}  // namespace quell
