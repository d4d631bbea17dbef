// The other verbs: what they print, as text and as JSON.
#include <gmock/gmock.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "framework/base/file.h"
#include "framework/config/load.h"
#include "tests/support/small_experiment.h"

namespace quell {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

class VerbTest : public testing::Test {
 protected:
  VerbTest() { folder_.write("tiny.yaml", tokens_experiment()); }

  ProgramResult quell(const std::vector<std::string>& arguments, const std::string& input = "") {
    return run_quell(arguments, folder_.path(), input);
  }
  std::string text(const std::vector<std::string>& arguments, const std::string& input = "") {
    const ProgramResult result = quell(arguments, input);
    EXPECT_EQ(result.exit_code, 0) << arguments[0] << ": " << result.errors;
    return result.output;
  }
  json parsed(const std::vector<std::string>& arguments) {
    return json::parse(text(arguments), nullptr, /*allow_exceptions=*/false);
  }

  TemporaryFolder folder_;
};

TEST_F(VerbTest, HelpAndVersion) {
  EXPECT_THAT(text({"--help"}), HasSubstr("tokenize"));
  EXPECT_THAT(text({"--version"}), HasSubstr("quell 0."));
  EXPECT_THAT(text({"run", "--help"}), HasSubstr("--overwrite"));
}

TEST_F(VerbTest, ListAndDescribe) {
  EXPECT_THAT(text({"list", "observers"}), HasSubstr("ema_minmax"));
  const json list = parsed({"list", "--json"});
  EXPECT_TRUE(list.is_object());
  EXPECT_THAT(list.dump(), HasSubstr("ema_minmax"));
  EXPECT_THAT(text({"describe", "observer", "ema_minmax"}), HasSubstr("momentum"));
  const json described = parsed({"describe", "observer", "ema_minmax", "--json"});
  EXPECT_EQ(described["name"], "ema_minmax");
}

TEST_F(VerbTest, CheckShowsThePlanAndRunsNothing) {
  const json plan = parsed({"check", "tiny.yaml", "--json"});
  EXPECT_EQ(plan["quantized_weights"], 23);
  EXPECT_EQ(plan["quantized_activations"], 26);
  EXPECT_EQ(plan["estimate"]["evaluation_sequences"], 16);
  int gelu = 0;
  for (const json& site : plan["sites"]) {
    if (site["site"] != "activation:encoder.0.ffn.gelu") continue;
    ++gelu;
    EXPECT_EQ(site["bits"], 8);
    EXPECT_EQ(site["observer"], "avg_minmax");
    EXPECT_EQ(site["published_names"]["outlier_suppression"],
              "bert.encoder.layer.0.intermediate.intermediate_act_fn_post_act_fake_quantize");
  }
  EXPECT_EQ(gelu, 1);
  EXPECT_THAT(text({"check", "tiny.yaml"}), HasSubstr("activation:encoder.2.ffn.gelu"));
  EXPECT_FALSE(fs::exists(folder_ / "runs"));
}

TEST_F(VerbTest, ResolvedExperimentResolvesToItself) {
  const std::string resolved = text({"check", "tiny.yaml", "--resolved", "--set", "seed=7"});
  EXPECT_THAT(resolved, HasSubstr("seed: 7"));
  folder_.write("resolved.yaml", resolved);
  EXPECT_EQ(text({"check", "resolved.yaml", "--resolved"}), resolved);
  EXPECT_EQ(parsed({"check", "tiny.yaml", "--resolved", "--json"})["name"], "tiny");
}

TEST_F(VerbTest, InspectPrintsResults) {
  text({"run", "tiny.yaml", "--output", "out"});
  const std::string table = text({"inspect", "out/results.h5"});
  EXPECT_THAT(table, HasSubstr("activation:encoder.0.ffn.gelu"));
  EXPECT_THAT(table, HasSubstr("quantized"));
  const json results = parsed({"inspect", "out/results.h5", "--json"});
  EXPECT_EQ(results["name"], "tiny");
  EXPECT_TRUE(results["metrics"]["quantized"].contains("accuracy"));
  EXPECT_GT(results["sites"].size(), 49u);
  EXPECT_EQ(quell({"inspect", "tiny.yaml"}).exit_code, 3);
  EXPECT_EQ(quell({"inspect", "nothing.h5"}).exit_code, 3);
}

TEST_F(VerbTest, CalibrationOfARunServesAnother) {
  text({"run", "tiny.yaml", "--output", "out"});
  const std::string given =
      fmt::format("pipeline=[{{calibrate: {{from: {}}}}}]", (folder_ / "out/results.h5").string());
  text({"run", "tiny.yaml", "--output", "again", "--set", given});
  const auto predictions = [&](const char* run) {
    return read_file(folder_ / run / "predictions.jsonl");
  };
  EXPECT_EQ(predictions("again"), predictions("out"));
}

TEST_F(VerbTest, TokenizeShowsWhatTheModelSees) {
  const std::string output = text(
      {"tokenize", (quickstart() / "model").string(), "--max_length", "8"}, "a good film\n\nbad");
  std::istringstream lines(output);
  std::string line;
  int count = 0;
  while (std::getline(lines, line)) {
    const json parsed = json::parse(line, nullptr, false);
    ASSERT_FALSE(parsed.is_discarded()) << line;
    ++count;
  }
  EXPECT_GE(count, 2);
  EXPECT_THAT(output, HasSubstr("[CLS]"));
}

TEST_F(VerbTest, UnknownVerbsAndOptionsAreSuggested) {
  const ProgramResult verb = quell({"chekc"});
  EXPECT_EQ(verb.exit_code, 2);
  EXPECT_THAT(verb.errors, HasSubstr("did you mean \"check\""));
  const ProgramResult option = quell({"run", "tiny.yaml", "--overwirte"});
  EXPECT_EQ(option.exit_code, 2);
  EXPECT_THAT(option.errors, HasSubstr("--overwrite"));
  const ProgramResult plugin = quell({"describe", "observer", "minmx"});
  EXPECT_EQ(plugin.exit_code, 2);
  EXPECT_THAT(plugin.errors, HasSubstr("minmax"));
  for (const char* name : {"run", "check", "describe", "inspect", "tokenize", "score"}) {
    const ProgramResult bare = quell({name});
    EXPECT_EQ(bare.exit_code, 2) << name;
    EXPECT_THAT(bare.errors, HasSubstr("error: ")) << name;
  }
}

// Every shipped experiment, by the schema that editors use.
TEST_F(VerbTest, SchemaAcceptsEveryShippedExperiment) {
  const std::string python = python_with("jsonschema");
  if (python.empty()) GTEST_SKIP() << "needs Python with jsonschema";
  folder_.write("schema.json", text({"schema"}));
  std::vector<std::string> command = {python, "-c", R"(
import json, sys, jsonschema
schema = json.load(open("schema.json"))
checker = jsonschema.validators.validator_for(schema)
checker.check_schema(schema)
errors = 0
for name in sys.argv[1:]:
    for error in checker(schema).iter_errors(json.load(open(name))):
        print(name, list(error.absolute_path), error.message[:200])
        errors += 1
sys.exit(errors > 0)
)"};
  const size_t fixed = command.size();
  for (const auto& entry : fs::recursive_directory_iterator(source_folder() / "experiments")) {
    const bool placement = entry.path().parent_path().filename() == "placements";
    if (entry.path().extension() != ".yaml" || placement) continue;
    Problems problems;
    const ConfigNode node = load_yaml(entry.path(), problems);
    // base.yaml and the like are parts of experiments.
    if (node.find("base") == nullptr && node.find("name") == nullptr) continue;
    command.push_back(fmt::format("{}.json", command.size()));
    folder_.write(command.back(), to_json(node).dump());
  }
  EXPECT_GE(command.size(), fixed + 3);
  const ProgramResult good = run_command(command, folder_.path());
  EXPECT_EQ(good.exit_code, 0) << good.output << good.errors;

  command.resize(fixed);
  folder_.write("bad.json",
                R"({"name": "x", "model": {"path": "m"}, "task": {"type": "nothing"}})");
  command.push_back("bad.json");
  EXPECT_EQ(run_command(command, folder_.path()).exit_code, 1);
}

}  // namespace
}  // namespace quell
