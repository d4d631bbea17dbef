#include "framework/base/suggest.h"

#include <gtest/gtest.h>
#include <vector>

namespace quell {
namespace {

const std::vector<std::string> kNames = {"minmax", "avg_minmax", "ema_minmax", "mse", "quantile"};

TEST(Suggest, FindsMisspellings) {
  EXPECT_EQ(closest_match("minmx", kNames), "minmax");       // a letter is missing
  EXPECT_EQ(closest_match("minnmax", kNames), "minmax");     // one too many
  EXPECT_EQ(closest_match("mimnax", kNames), "minmax");      // two are wrong
  EXPECT_EQ(closest_match("miNMax", kNames), "minmax");      // upper case costs nothing
  EXPECT_EQ(closest_match("quantiel", kNames), "quantile");  // a swap
  EXPECT_EQ(closest_match("esm", kNames), std::nullopt);     // too far for so short a name
  EXPECT_EQ(closest_match("sme", kNames), "mse");
  EXPECT_EQ(closest_match("mse", kNames), "mse");
}

TEST(Suggest, FindsNothingAmongStrangers) {
  EXPECT_EQ(closest_match("percentile_of_tokens", kNames), std::nullopt);
  EXPECT_EQ(closest_match("", kNames), std::nullopt);
  EXPECT_EQ(closest_match("minmax", {}), std::nullopt);
}

TEST(Suggest, PrefersTheNearest) {
  const std::vector<std::string> names = {"layer.11.weight", "layer.1.weight", "layer.0.weight"};
  EXPECT_EQ(closest_match("layer.1.weigth", names), "layer.1.weight");
}

TEST(Suggest, WritesTheEndOfAMessage) {
  EXPECT_EQ(did_you_mean("minmx", kNames), "; did you mean \"minmax\"?");
  EXPECT_EQ(did_you_mean("zzz", std::vector<std::string>{"a", "b"}), "; known: a, b");
  EXPECT_EQ(did_you_mean("zzz", {}), "");
}

}  // namespace
}  // namespace quell
