// Registering plug-ins, and choosing one in a configuration.
#include "framework/plugin/registry.h"

#include <gmock/gmock.h>

#include "framework/base/error.h"
#include "framework/config/load.h"
#include "tests/support/throws.h"
#include "tests/unit/plugin/plugins_for_test.h"

namespace quell {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Config {
  ObserverChoice observer{"minmax"};
  std::optional<ObserverChoice> second;
  std::vector<StepChoice> pipeline;

  template <class V>
  static void describe(V& v) {
    v("observer", &Config::observer, "how ranges are found");
    v("second", &Config::second, "another one");
    v("pipeline", &Config::pipeline, "steps");
  }
};

class RegistryTest : public ::testing::Test {
 protected:
  RegistryTest() { register_test_plugins(plugins_); }

  Config read(const std::string& text) {
    ReadContext context{problems_, &plugins_};
    return read_config<Config>(parse_yaml(text, "e.yaml", problems_), context);
  }
  std::vector<std::string> problems_of(const std::string& text) {
    problems_ = Problems();
    read(text);
    return problems_.lines();
  }

  Plugins plugins_;
  Problems problems_;
};

TEST_F(RegistryTest, FindsByName) {
  EXPECT_THAT(plugins_.observers.names(), ElementsAre("average", "minmax", "nested"));
  EXPECT_EQ(plugins_.observers.find("minmax")->summary(), "The range of the data.");
  EXPECT_EQ(plugins_.observers.get("average").source(), "paper, equation 7");
  EXPECT_EQ(plugins_.observers.find("mean"), nullptr);
  EXPECT_EQ(message_of<ConfigError>([&] { plugins_.observers.get("minmx"); }),
            "unknown observer \"minmx\"; did you mean \"minmax\"?");
}

TEST_F(RegistryTest, LawsThatAPluginBreaks) {
  const PluginEntry& entry = plugins_.observers.get("average");
  EXPECT_FALSE(entry.obeys("order_free"));
  EXPECT_TRUE(entry.obeys("scale_equivariant"));
  EXPECT_EQ(entry.exceptions().at("order_free"), "what came last weighs more");
  Plugins more;
  auto& other = add_plugin<plugins_for_test::Migrate, NoParams>(more.transforms, "m", "s", "s");
  EXPECT_THAT(message_of<Error>([&] { other.breaks("law", ""); }), HasSubstr("without a reason"));
}

struct TypeParams {
  int64_t type = 1;
  template <class V>
  static void describe(V& v) {
    v("type", &TypeParams::type, "clashes with the name");
  }
};

class Typed final : public Transform {
 public:
  explicit Typed(const TypeParams&) {}
};

TEST_F(RegistryTest, MistakesOfAPluginAuthorAreBugs) {
  using plugins_for_test::Migrate;
  const auto add = [&](const std::string& name) {
    add_plugin<Migrate, NoParams>(plugins_.transforms, name, "s", "s");
  };
  EXPECT_THAT(message_of<Error>([&] { add("migrate"); }), HasSubstr("registered twice"));
  EXPECT_THAT(message_of<Error>([&] { add("Migrate"); }), HasSubstr("snake_case"));
  EXPECT_THAT(message_of<Error>([&] { add(""); }), HasSubstr("snake_case"));
  EXPECT_THAT(message_of<Error>(
                  [&] { add_plugin<Typed, TypeParams>(plugins_.transforms, "typed", "s", "s"); }),
              HasSubstr("not a parameter"));
}

TEST_F(RegistryTest, ChoiceByNameOrWithParameters) {
  const QuantSpec spec{6};
  EXPECT_EQ(read("observer: minmax\n").observer.create(spec)->text(), "minmax 6");
  EXPECT_EQ(read("observer: {type: minmax}\n").observer.create(spec)->text(), "minmax 6");
  EXPECT_EQ(read("observer: average\n").observer.create(spec)->text(), "average 0.900000");
  const Config config = read("observer:\n  type: average\n  momentum: 0.5\n");
  EXPECT_EQ(config.observer.name(), "average");
  EXPECT_EQ(config.observer.create(spec)->text(), "average 0.500000");
  EXPECT_EQ(&config.observer.entry(), plugins_.observers.find("average"));
  problems_.throw_if_any();
}

TEST_F(RegistryTest, DefaultsAreResolved) {
  const Config config = read("");
  EXPECT_EQ(config.observer.create(QuantSpec{4})->text(), "minmax 4");
  EXPECT_FALSE(config.second);
  const Config nested = read("second: {type: nested, file: x}\n");
  EXPECT_EQ(nested.second->create(QuantSpec{4})->text(), "nested average 0.900000");
  problems_.throw_if_any();
}

TEST_F(RegistryTest, ChoiceMadeInCode) {
  const ObserverChoice choice(plugins_.observers, "average");
  EXPECT_EQ(choice.create(QuantSpec{})->text(), "average 0.900000");
  EXPECT_THROW(ObserverChoice(plugins_.observers, "avrage"), ConfigError);
  EXPECT_TRUE(StepChoice(plugins_, "migrate").transform());
  EXPECT_THROW(StepChoice(plugins_, "lern"), ConfigError);
  EXPECT_THAT(message_of<Error>([] { ObserverChoice("minmax").create(QuantSpec{}); }),
              HasSubstr("never resolved"));
}

TEST_F(RegistryTest, BadChoices) {
  EXPECT_THAT(problems_of("observer: minmx\n"),
              ElementsAre("e.yaml:1:11: observer: unknown observer \"minmx\"; did you mean "
                          "\"minmax\"?"));
  EXPECT_THAT(problems_of("observer: {type: minmx}\n"),
              ElementsAre("e.yaml:1:18: observer.type: unknown observer \"minmx\"; did you mean "
                          "\"minmax\"?"));
  EXPECT_THAT(problems_of("observer: {momentum: 0.9}\n"),
              ElementsAre("e.yaml:1:11: observer: missing \"type\", the name of the observer; "
                          "known: average, minmax, nested"));
  EXPECT_THAT(problems_of("observer: {type: [a]}\n"),
              ElementsAre("e.yaml:1:18: observer.type: expected a name, found a list"));
  EXPECT_THAT(problems_of("observer: [minmax]\n"),
              ElementsAre("e.yaml:1:11: observer: expected the name of the observer, or {type: "
                          "name, ...}, found a list"));
  EXPECT_THAT(problems_of("observer:\n"),
              ElementsAre("e.yaml:1:1: observer: expected the name of the observer, or {type: "
                          "name, ...}, found nothing"));
  EXPECT_THAT(problems_of("observer: {type: average, momentum: 1, bin: 3}\n"),
              ElementsAre("e.yaml:1:37: observer.momentum: must be in [0, 1), found 1",
                          "e.yaml:1:40: observer.bin: unknown key; did you mean \"bins\"?"));
  EXPECT_THAT(problems_of("observer: {type: minmax, bits: 3}\n"),
              ElementsAre("e.yaml:1:26: observer.bits: unknown key: there are no settings here"));
  EXPECT_THAT(problems_of("observer: nested\n"),
              ElementsAre("e.yaml:1:11: observer.file: missing: where the ranges are (string)"));
  EXPECT_THAT(problems_of("observer: {average: {momentum: 0.5}}\n"),  // for steps only
              ElementsAre(HasSubstr("missing \"type\"")));
}

TEST_F(RegistryTest, StepsOfAPipeline) {
  const Config config = read(
      "pipeline: [migrate, learn, {learn: {epochs: 5}}, {type: learn, epochs: 6}, {migrate: }]\n");
  problems_.throw_if_any();
  ASSERT_EQ(config.pipeline.size(), 5u);
  EXPECT_TRUE(config.pipeline[0].transform());
  EXPECT_FALSE(config.pipeline[0].solver());
  EXPECT_FALSE(config.pipeline[1].transform());
  const auto epochs = [&](size_t i) {
    return config.pipeline[i].solver()->create(config.pipeline[i].params())->epochs();
  };
  EXPECT_EQ(epochs(1), 3);
  EXPECT_EQ(epochs(2), 5);
  EXPECT_EQ(epochs(3), 6);
}

TEST_F(RegistryTest, BadSteps) {
  EXPECT_THAT(
      problems_of("pipeline:\n"
                  "  - lern\n"
                  "  - {lern: {}}\n"
                  "  - {learn: {epochs: 0}}\n"
                  "  - {learn: {epoch: 1}}\n"
                  "  - {learn: 3}\n"
                  "  - {learn: {}, migrate: {}}\n"),
      ElementsAre("e.yaml:2:5: pipeline[0]: unknown step \"lern\"; did you mean \"learn\"?",
                  "e.yaml:3:6: pipeline[1]: unknown step \"lern\"; did you mean \"learn\"?",
                  "e.yaml:4:22: pipeline[2].learn.epochs: must be at least 1, found 0",
                  "e.yaml:5:14: pipeline[3].learn.epoch: unknown key; did you mean \"epochs\"?",
                  "e.yaml:6:13: pipeline[4].learn: expected a map of settings, found \"3\"",
                  "e.yaml:7:5: pipeline[5]: missing \"type\", the name of the step; known: learn, "
                  "migrate"));
}

TEST_F(RegistryTest, PrintsWhatItReads) {
  const Config config = read(
      "observer: {type: average, momentum: 0.5}\nsecond: {type: nested, file: \"8\"}\n"
      "pipeline: [migrate, {learn: {epochs: 5}}]\n");
  problems_.throw_if_any();
  const std::string printed = to_yaml(to_node(config));
  EXPECT_EQ(printed,
            "observer:\n"
            "  type: average\n"
            "  momentum: 0.5\n"
            "  bins: [2, 3]\n"
            "second:\n"
            "  type: nested\n"
            "  inner:\n"
            "    type: average\n"
            "    momentum: 0.9\n"
            "    bins: [2, 3]\n"
            "  file: \"8\"\n"
            "pipeline:\n"
            "  - migrate\n"
            "  - learn:\n"
            "      epochs: 5\n");
  EXPECT_EQ(to_yaml(to_node(read(printed))), printed);
  EXPECT_EQ(to_yaml(to_node(Config())), "observer: minmax\npipeline: []\n");
}

}  // namespace
}  // namespace quell
