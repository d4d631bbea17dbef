// What `list`, `describe`, `schema` and docs/plugins.md say.
#include "framework/plugin/reference.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "tests/support/throws.h"
#include "tests/unit/plugin/plugins_for_test.h"

namespace quell {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

struct Experiment {
  std::string name;
  ObserverChoice observer{"minmax"};
  std::vector<StepChoice> pipeline;

  template <class V>
  static void describe(V& v) {
    v("name", &Experiment::name, "name of the run", required());
    v("observer", &Experiment::observer, "how ranges are found");
    v("pipeline", &Experiment::pipeline, "steps");
  }
};

class ReferenceTest : public ::testing::Test {
 protected:
  ReferenceTest() { register_test_plugins(plugins_); }
  Plugins plugins_;
};

TEST_F(ReferenceTest, List) {
  EXPECT_EQ(list_text(plugins_, "observers"),
            "observers\n"
            "  average  A running average.\n"
            "  minmax   The range of the data.\n"
            "  nested   Wraps another one.\n");
  EXPECT_EQ(list_text(plugins_, "quantizer"), "quantizers\n  (none yet)\n");
  const std::string all = list_text(plugins_);
  EXPECT_LT(all.find("observers\n"), all.find("transforms\n"));
  EXPECT_EQ(list_json(plugins_, "transform").dump(),
            R"({"transform":[{"name":"migrate","summary":"Moves gamma.","source":"paper"}]})");
  EXPECT_EQ(message_of<ConfigError>([&] { list_text(plugins_, "observr"); }),
            "unknown kind of plug-in \"observr\"; did you mean \"observer\"?");
}

TEST_F(ReferenceTest, Describe) {
  EXPECT_EQ(describe_text(plugins_, "observer", "average"),
            "observer average\n"
            "A running average.\n"
            "Source: paper, equation 7\n"
            "\n"
            "Parameters\n"
            "momentum = 0.9  number, in [0, 1)  weight of the past | in [0, 1)\n"
            "bins = [2, 3]   list of integers   bins\n"
            "\n"
            "Does not obey\n"
            "order_free: what came last weighs more\n");
  EXPECT_THAT(describe_text(plugins_, "observers", "minmax"), HasSubstr("\nNo parameters.\n"));
  EXPECT_THAT(describe_text(plugins_, "observer", "nested"),
              HasSubstr("file = (required)  string    where the ranges are\n"));
  EXPECT_EQ(message_of<ConfigError>([&] { describe_text(plugins_, "observer", "minmx"); }),
            "unknown observer \"minmx\"; did you mean \"minmax\"?");
  const Json json = describe_json(plugins_, "observer", "average");
  EXPECT_EQ(json["parameters"][0]["default"], 0.9);
  EXPECT_EQ(json["parameters"][0]["range"], "in [0, 1)");
  EXPECT_EQ(json["exceptions"]["order_free"], "what came last weighs more");
  EXPECT_EQ(json["schema"]["properties"]["momentum"]["exclusiveMaximum"], 1);
}

TEST_F(ReferenceTest, Markdown) {
  const std::string page = reference_markdown(plugins_);
  EXPECT_THAT(page,
              HasSubstr("## observers\n\n### average\n\nA running average.\n\n"
                        "Source: paper, equation 7\n\n"
                        "| parameter | type | default | allowed | meaning |\n"
                        "| --- | --- | --- | --- | --- |\n"
                        "| `momentum` | number | `0.9` | in [0, 1) | weight of the past \\| in "
                        "[0, 1) |\n"));
  EXPECT_THAT(page, HasSubstr("- `order_free`: what came last weighs more\n"));
  EXPECT_THAT(page, HasSubstr("## quantizers\n\nNone yet.\n"));
}

TEST_F(ReferenceTest, ExperimentSchema) {
  const Json schema = experiment_schema_json(schema_of<Experiment>(), plugins_);
  EXPECT_EQ(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
  EXPECT_EQ(schema["anyOf"].dump(), R"([{"required":["base"]},{"required":["name"]}])");
  EXPECT_TRUE(schema["properties"].contains("base"));
  EXPECT_EQ(schema["properties"]["observer"]["$ref"], "#/$defs/observer");
  EXPECT_EQ(schema["properties"]["observer"]["default"], "minmax");
  EXPECT_EQ(schema["properties"]["pipeline"]["items"]["$ref"], "#/$defs/step");
  const Json& observers = schema["$defs"]["observer"]["anyOf"];
  ASSERT_EQ(observers.size(), 4u);
  EXPECT_EQ(observers[0].dump(), R"({"enum":["average","minmax"]})");  // nested needs a file
  EXPECT_EQ(observers[1]["properties"]["type"].dump(), R"({"const":"average"})");
  EXPECT_EQ(observers[1]["properties"]["momentum"]["exclusiveMaximum"], 1);
  EXPECT_EQ(observers[1]["required"].dump(), R"(["type"])");
  EXPECT_EQ(observers[1]["additionalProperties"], false);
  EXPECT_EQ(observers[3]["required"].dump(), R"(["type","file"])");
  EXPECT_EQ(observers[3]["properties"]["inner"]["$ref"], "#/$defs/observer");
  const Json& steps = schema["$defs"]["step"]["anyOf"];
  ASSERT_EQ(steps.size(), 5u);  // the names, and two forms of each of the two steps
  EXPECT_EQ(steps[4]["properties"]["learn"]["anyOf"][0]["properties"]["epochs"]["minimum"], 1);
}

}  // namespace
}  // namespace quell
