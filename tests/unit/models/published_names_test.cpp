// Tables of published names.
#include "models/blocks/published_names.h"

#include <gmock/gmock.h>
#include <set>

namespace quell {
namespace {

using testing::ElementsAre;
using testing::Pair;

std::vector<std::pair<std::string, std::string>> names_of(const std::string& family,
                                                          const std::string& name, SiteKind kind,
                                                          int64_t layer) {
  Site site;
  site.name = name;
  site.kind = kind;
  site.layer = layer;
  add_published_names(family, {&site, 1});
  return site.published_names;
}

TEST(PublishedNames, EveryPaperHasItsOwn) {
  EXPECT_THAT(names_of("bert", "encoder.11.attention.key", SiteKind::kActivation, 11),
              ElementsAre(Pair("outlier_suppression",
                               "bert.encoder.layer.11.attention.self.key_transpose_post_act_fake_"
                               "quantize"),
                          Pair("qualcomm",
                               "bert.encoder.layer.11.attention.self.key.activation_quantizer")));
}

TEST(PublishedNames, FamiliesDiffer) {
  EXPECT_THAT(names_of("roberta", "classifier", SiteKind::kWeight, -1),
              ElementsAre(Pair("outlier_suppression", "classifier.out_proj.weight_fake_quant"),
                          Pair("qualcomm", "classifier.out_proj.weight_quantizer")));
  EXPECT_TRUE(names_of("electra", "classifier", SiteKind::kWeight, -1).empty());
}

TEST(PublishedNames, OfOneSiteDependOnTheFamily) {
  const std::string name = "decoder.3.attention.key";
  const auto key_of = [&](const char* family) {
    return names_of(family, name, SiteKind::kActivation, 3);
  };
  EXPECT_THAT(
      key_of("opt"),
      ElementsAre(Pair("outlier_suppression_plus",
                       "model.decoder.layers.3.self_attn.key_transpose_post_act_fake_quant")));
  EXPECT_THAT(key_of("bloom"),
              ElementsAre(Pair("outlier_suppression_plus",
                               "transformer.h.3.self_attn.key_post_act_fake_quant")));
  EXPECT_THAT(key_of("llama"),
              ElementsAre(Pair("outlier_suppression_plus",
                               "model.layers.3.self_attn.key_transpose_post_act_fake_quant")));
}

TEST(PublishedNames, TablesNameNoSiteTwice) {
  ASSERT_FALSE(published_tables().empty());
  for (const PublishedTable& table : published_tables()) {
    std::set<std::string_view> keys, names;
    size_t lines = 0;
    for (std::string_view rest = table.lines; !rest.empty();) {
      const std::string_view line = rest.substr(0, rest.find('\n'));
      rest = rest.substr(line.size() + 1);
      keys.insert(line.substr(0, line.find('\t')));
      names.insert(line.substr(line.find('\t') + 1));
      ++lines;
    }
    EXPECT_EQ(keys.size(), lines) << table.family << " " << table.paper;
    EXPECT_EQ(names.size(), lines) << table.family << " " << table.paper;
  }
}

}  // namespace
}  // namespace quell
