// A description drives strict reading, defaults, printing, JSON Schema and help.
#include "framework/config/schema.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/config/load.h"

namespace quell {

enum class Padding { kDrop, kKeep };

template <>
struct EnumNames<Padding> {
  static constexpr std::pair<const char*, Padding> values[] = {{"drop", Padding::kDrop},
                                                               {"keep", Padding::kKeep}};
};

namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Inner {
  double percentile = 99.99;
  int64_t bins = 2048;

  template <class V>
  static void describe(V& v) {
    v("percentile", &Inner::percentile, "share to keep, in percent", in_range(50.0, 100.0));
    v("bins", &Inner::bins, "bins of the histogram", in_range(2, 65536));
  }
  static void check(const Inner& inner, Report& report) {
    if (inner.bins == 13) report.problem("bins", "13 bins bring bad luck");
    if (inner.percentile == 66) report.problem("", "66 does not go with anything");
  }
};

struct Outer {
  std::string name;
  bool fast = true;
  int threads = 1;
  uint64_t seed = 42;
  double rate = 1e-5;
  double limit = 0;
  std::string split = "train";
  Padding padding = Padding::kDrop;
  std::filesystem::path file;
  std::vector<int64_t> bits = {8, 6};
  std::vector<std::string> sites = {"all"};
  std::optional<double> momentum;
  std::map<std::string, double> scales;
  Inner inner;
  std::optional<Inner> maybe;
  std::vector<Inner> list;

  template <class V>
  static void describe(V& v) {
    v("name", &Outer::name, "name of the run", required(), non_empty());
    v("fast", &Outer::fast, "whether to hurry");
    v("threads", &Outer::threads, "worker threads", at_least(1));
    v("seed", &Outer::seed, "random seed");
    v("rate", &Outer::rate, "learning rate", greater_than(0), less_than(1));
    v("limit", &Outer::limit, "upper limit", allow_non_finite());
    v("split", &Outer::split, "where samples come from", one_of({"train", "dev"}));
    v("padding", &Outer::padding, "what to do with padding");
    v("file", &Outer::file, "a file");
    v("bits", &Outer::bits, "bit widths", in_range(2, 16), non_empty());
    v("sites", &Outer::sites, "patterns", or_single());
    v("momentum", &Outer::momentum, "weight of the past", in_range(0, 1));
    v("scales", &Outer::scales, "scales by site", greater_than(0));
    v("inner", &Outer::inner, "a section");
    v("maybe", &Outer::maybe, "a section that may be missing");
    v("list", &Outer::list, "sections");
  }
};

Outer read(const std::string& text, Problems& problems) {
  ReadContext context{problems};
  return read_config<Outer>(parse_yaml(text, "e.yaml", problems), context);
}

Outer read(const std::string& text) {
  Problems problems;
  Outer outer = read(text, problems);
  problems.throw_if_any();
  return outer;
}

std::vector<std::string> problems_of(const std::string& text) {
  Problems problems;
  read(text, problems);
  return problems.lines();
}

// Problems of one line besides the name.
std::vector<std::string> problems_with(const std::string& line) {
  return problems_of("name: x\n" + line + "\n");
}

TEST(Schema, DefaultsStayWhereNothingIsWritten) {
  const Outer outer = read("name: x\n");
  EXPECT_EQ(outer.name, "x");
  EXPECT_TRUE(outer.fast);
  EXPECT_EQ(outer.seed, 42u);
  EXPECT_THAT(outer.bits, ElementsAre(8, 6));
  EXPECT_FALSE(outer.momentum);
  EXPECT_FALSE(outer.maybe);
  EXPECT_EQ(outer.inner.bins, 2048);
}

TEST(Schema, ReadsEveryType) {
  const Outer outer = read(
      "name: 2024\nfast: false\nthreads: 4\nseed: 18446744073709551615\nrate: 1e-3\nlimit: -.inf\n"
      "split: dev\npadding: keep\nfile: a b.txt\nbits: [4]\nsites: \"weight:*\"\nmomentum: .5\n"
      "scales: {a.b: 2, c: 0.25}\ninner: {bins: 64}\nmaybe:\n  bins: 3\nlist: [{bins: 4}, {}]\n");
  EXPECT_EQ(outer.name, "2024");
  EXPECT_FALSE(outer.fast);
  EXPECT_EQ(outer.threads, 4);
  EXPECT_EQ(outer.seed, std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(outer.rate, 1e-3);
  EXPECT_EQ(outer.limit, -std::numeric_limits<double>::infinity());
  EXPECT_EQ(outer.split, "dev");
  EXPECT_EQ(outer.padding, Padding::kKeep);
  EXPECT_EQ(outer.file, "a b.txt");
  EXPECT_THAT(outer.bits, ElementsAre(4));
  EXPECT_THAT(outer.sites, ElementsAre("weight:*"));
  EXPECT_EQ(outer.momentum, 0.5);
  EXPECT_EQ(outer.scales.at("a.b"), 2);
  EXPECT_EQ(outer.inner.bins, 64);
  EXPECT_EQ(outer.inner.percentile, 99.99);
  EXPECT_EQ(outer.maybe->bins, 3);
  ASSERT_EQ(outer.list.size(), 2u);
  EXPECT_EQ(outer.list[0].bins, 4);
  EXPECT_EQ(outer.list[1].bins, 2048);
  EXPECT_FALSE(read("name: x\nmomentum: null\nmaybe: ~\n").maybe);
}

TEST(Schema, AnEmptySectionIsAllDefaults) { EXPECT_EQ(read("name: x\ninner:\n").inner.bins, 2048); }

TEST(Schema, CollectsEverythingInOrder) {
  EXPECT_THAT(problems_of("fast: yes\n"
                          "inner:\n"
                          "  percntile: 50\n"
                          "  bins: many\n"
                          "list:\n"
                          "  - bins: 1\n"
                          "bits: [8, 40]\n"
                          "speed: 3\n"),
              ElementsAre("e.yaml:1:1: name: missing: name of the run (string)",
                          "e.yaml:1:7: fast: expected true or false, found \"yes\"",
                          "e.yaml:3:3: inner.percntile: unknown key; did you mean \"percentile\"?",
                          "e.yaml:4:9: inner.bins: expected an integer, found \"many\"",
                          "e.yaml:6:11: list[0].bins: must be in [2, 65536], found 1",
                          "e.yaml:7:11: bits[1]: must be in [2, 16], found 40",
                          "e.yaml:8:1: speed: unknown key; did you mean \"seed\"?"));
}

TEST(Schema, Integers) {
  EXPECT_THAT(problems_with("inner: {bins: 1e3}"),
              ElementsAre("e.yaml:2:15: inner.bins: expected an integer, found \"1e3\""));
  EXPECT_THAT(problems_with("threads: \"8\""),
              ElementsAre("e.yaml:2:10: threads: expected an integer, found \"8\" in quotes"));
  EXPECT_THAT(problems_with("seed: -1"),
              ElementsAre("e.yaml:2:7: seed: expected an integer of at least 0, found \"-1\""));
  EXPECT_THAT(problems_with("threads: 3000000000"),
              ElementsAre("e.yaml:2:10: threads: expected an integer, found \"3000000000\""));
  for (const char* text : {"0x10", "010", "0o17", "1_000", "8.0", "1e-3", "true", "[1]", "{a: 1}",
                           "99999999999999999999", "--1", "+-1", ""}) {
    EXPECT_EQ(problems_with("threads: " + std::string(text)).size(), 1u) << text;
  }
  EXPECT_THAT(problems_with("threads: +8"), IsEmpty());
}

TEST(Schema, Numbers) {
  EXPECT_THAT(problems_with("rate: 0"),
              ElementsAre("e.yaml:2:7: rate: must be in (0, 1), found 0"));
  EXPECT_THAT(problems_with("rate: 1"),
              ElementsAre("e.yaml:2:7: rate: must be in (0, 1), found 1"));
  EXPECT_THAT(problems_with("rate: .nan"),
              ElementsAre("e.yaml:2:7: rate: must be finite, found .nan"));
  EXPECT_THAT(problems_with("momentum: .inf"),
              ElementsAre("e.yaml:2:11: momentum: must be finite, found .inf"));
  EXPECT_TRUE(std::isnan(read("name: x\nlimit: .NaN\n").limit));
  for (const char* text : {"nan", "inf", "infinity", "1e400", "0x1p3", "1,5", "1.2.3", "e5", ".",
                           "010.5", "'0.5'", "-x", "1e"}) {
    EXPECT_EQ(problems_with("limit: " + std::string(text)).size(), 1u) << text;
  }
  for (const char* text : {"1.", ".5", "-0.5", "+2", "1E5", "1.5e+3", "-1e-3"}) {
    EXPECT_THAT(problems_with("limit: " + std::string(text)), IsEmpty()) << text;
  }
}

TEST(Schema, Booleans) {
  EXPECT_THAT(problems_with("fast: \"true\""),
              ElementsAre("e.yaml:2:7: fast: expected true or false, found \"true\" in quotes"));
  for (const char* text : {"on", "True", "1", "y", "[true]"}) {
    EXPECT_EQ(problems_with("fast: " + std::string(text)).size(), 1u) << text;
  }
}

TEST(Schema, Strings) {
  EXPECT_THAT(problems_of("name:\n"),
              ElementsAre("e.yaml:1:1: name: expected a string, found nothing; an empty string is "
                          "written \"\""));
  EXPECT_THAT(problems_of("name: \"\"\n"), ElementsAre("e.yaml:1:7: name: must not be empty"));
  EXPECT_THAT(problems_of("name: [a]\n"),
              ElementsAre("e.yaml:1:7: name: expected a string, found a list"));
  EXPECT_THAT(problems_with("split: trian"),
              ElementsAre("e.yaml:2:8: split: unknown \"trian\"; did you mean \"train\"?"));
  EXPECT_THAT(problems_with("padding: kep"),
              ElementsAre("e.yaml:2:10: padding: unknown \"kep\"; did you mean \"keep\"?"));
  EXPECT_THAT(problems_with("padding: [keep]"),
              ElementsAre("e.yaml:2:10: padding: expected drop | keep, found a list"));
}

TEST(Schema, ListsMapsAndSections) {
  EXPECT_THAT(problems_with("bits: 8"),
              ElementsAre("e.yaml:2:7: bits: expected a list of integers, found \"8\""));
  EXPECT_THAT(problems_with("bits: []"), ElementsAre("e.yaml:2:7: bits: must not be empty"));
  EXPECT_THAT(problems_with("scales: {a: 0}"),
              ElementsAre("e.yaml:2:13: scales.a: must be greater than 0, found 0"));
  EXPECT_THAT(problems_with("scales: [1]"),
              ElementsAre("e.yaml:2:9: scales: expected a map of numbers, found a list"));
  EXPECT_THAT(problems_with("inner: fast"),
              ElementsAre("e.yaml:2:8: inner: expected a map of settings, found \"fast\""));
  EXPECT_THAT(problems_of("[1]\n"), ElementsAre("e.yaml:1:1: expected a map of settings, found a "
                                                "list"));
}

TEST(Schema, ChecksSeveralKeysTogether) {
  EXPECT_THAT(problems_with("inner: {bins: 13}"),
              ElementsAre("e.yaml:2:15: inner.bins: 13 bins bring bad luck"));
  EXPECT_THAT(problems_with("inner: {percentile: 66}"),
              ElementsAre("e.yaml:2:8: inner: 66 does not go with anything"));
  EXPECT_EQ(problems_with("inner: {bins: 13, percentile: 1}").size(), 1u);  // not on top of others
}

TEST(Schema, PrintsEveryDefaultInOrder) {
  // Not `momentum` and `maybe`, which are absent.
  EXPECT_EQ(to_yaml(to_node(read("name: x\nscales: {b: 1, a: 2}\nlist: [{bins: 4}]\n"))),
            "name: x\n"
            "fast: true\n"
            "threads: 1\n"
            "seed: 42\n"
            "rate: 1.0e-05\n"
            "limit: 0.0\n"
            "split: train\n"
            "padding: drop\n"
            "file: \"\"\n"
            "bits: [8, 6]\n"
            "sites: [all]\n"
            "scales:\n"
            "  a: 2.0\n"
            "  b: 1.0\n"
            "inner:\n"
            "  percentile: 99.99\n"
            "  bins: 2048\n"
            "list:\n"
            "  - percentile: 99.99\n"
            "    bins: 4\n");
}

TEST(Schema, PrintingAndReadingAgainGivesEqualValues) {
  const std::vector<std::string> texts = {
      "",     "8",          "true",     "no",       "null", "~",      "a: b", "*x",    "&x",
      "<<",   "- a",        " a ",      "#",        "a #b", "\"q\"",  "it's", "é😀",    "a\nb\n",
      "0x1F", "1e5",        ".5",       "\t",       "[a]",  "{a: 1}", "%x",   "@x",    "a\\b",
      "=",    "2024-01-01", "12:30:45", "weight:*", "y",    ".inf",   "\x7f", "a\r\nb"};
  Outer outer = read("name: x\n");
  outer.sites = texts;
  for (const std::string& text : texts) outer.scales["k" + text] = 1;
  outer.scales["null"] = outer.scales["<<"] = 0.1;
  outer.rate = 0.1 + 0.2;
  outer.limit = std::numeric_limits<double>::denorm_min();
  outer.seed = std::numeric_limits<uint64_t>::max();
  outer.bits = {2, 16};
  outer.maybe = Inner{100.0 / 3 * 2, 7};
  outer.list.resize(2);
  for (const std::string& text : texts) {
    if (!text.empty()) outer.name = text;
    const std::string printed = to_yaml(to_node(outer));
    const Outer again = read(printed);
    EXPECT_EQ(again.name, outer.name);
    EXPECT_EQ(again.sites, outer.sites);
    EXPECT_EQ(again.scales, outer.scales);
    EXPECT_EQ(again.rate, outer.rate);
    EXPECT_EQ(again.limit, outer.limit);
    EXPECT_EQ(again.seed, outer.seed);
    EXPECT_EQ(again.maybe->percentile, outer.maybe->percentile);
    EXPECT_EQ(to_yaml(to_node(again)), printed);
  }
}

TEST(Schema, ValuesAsJson) {
  const nlohmann::ordered_json json = to_json(to_node(read("name: \"8\"\nlimit: .inf\n")));
  EXPECT_EQ(json["name"], "8");
  EXPECT_EQ(json["fast"], true);
  EXPECT_EQ(json["seed"], 42);
  EXPECT_EQ(json["rate"], 1e-5);
  EXPECT_EQ(json["limit"], ".inf");         // JSON has no infinity
  EXPECT_FALSE(json.contains("momentum"));  // absent
  EXPECT_EQ(json["bits"], nlohmann::ordered_json({8, 6}));
}

TEST(Schema, JsonSchema) {
  SchemaContext context;
  const nlohmann::ordered_json schema = schema_of<Outer>().json_schema(context);
  EXPECT_EQ(schema["type"], "object");
  EXPECT_EQ(schema["additionalProperties"], false);
  EXPECT_EQ(schema["required"], nlohmann::ordered_json::array({"name"}));
  const auto& properties = schema["properties"];
  const auto text = [&](const char* key) { return properties[key].dump(); };
  EXPECT_EQ(properties.begin().key(), "name");
  EXPECT_EQ(text("name"),
            R"({"type":["string","number"],"minLength":1,"description":"name of the run"})");
  EXPECT_EQ(text("fast"), R"({"type":"boolean","description":"whether to hurry","default":true})");
  EXPECT_EQ(text("threads"),
            R"({"type":"integer","minimum":1,"description":"worker threads","default":1})");
  EXPECT_EQ(text("seed"),
            R"({"type":"integer","minimum":0,"description":"random seed","default":42})");
  EXPECT_EQ(text("rate"), R"({"type":"number","exclusiveMinimum":0,"exclusiveMaximum":1,)"
                          R"("description":"learning rate","default":1e-05})");
  EXPECT_EQ(text("split"), R"({"type":"string","enum":["train","dev"],)"
                           R"("description":"where samples come from","default":"train"})");
  EXPECT_EQ(text("padding"), R"({"type":"string","enum":["drop","keep"],)"
                             R"("description":"what to do with padding","default":"drop"})");
  EXPECT_EQ(text("bits"),
            R"({"type":"array","items":{"type":"integer","minimum":2,"maximum":16},"minItems":1,)"
            R"("description":"bit widths","default":[8,6]})");
  EXPECT_EQ(text("sites"), R"({"anyOf":[{"type":["string","number"]},)"
                           R"({"type":"array","items":{"type":["string","number"]}}],)"
                           R"("description":"patterns","default":["all"]})");
  EXPECT_EQ(text("momentum"),
            R"({"anyOf":[{"type":"number","minimum":0,"maximum":1},{"type":"null"}],)"
            R"("description":"weight of the past","default":null})");
  EXPECT_EQ(text("scales"),
            R"({"type":"object","additionalProperties":{"type":"number",)"
            R"("exclusiveMinimum":0},"description":"scales by site","default":{}})");
  EXPECT_EQ(properties["inner"]["properties"]["bins"]["maximum"], 65536);
  EXPECT_EQ(properties["inner"]["additionalProperties"], false);
  EXPECT_EQ(properties["list"]["items"]["type"], "object");
}

TEST(Schema, Help) {
  EXPECT_EQ(schema_of<Inner>().help(),
            "percentile = 99.99  number, in [50, 100]    share to keep, in percent\n"
            "bins = 2048         integer, in [2, 65536]  bins of the histogram\n");
}

struct Twice {
  int a = 0;
  template <class V>
  static void describe(V& v) {
    v("a", &Twice::a, "first");
    v("a", &Twice::a, "second");
  }
};

TEST(SchemaDeathTest, AKeyIsDescribedOnce) { EXPECT_ANY_THROW(schema_of<Twice>()); }

}  // namespace
}  // namespace quell
