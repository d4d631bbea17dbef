// `quell run` as a user sees it: the files of a run, and what can be done with them.
#include <gmock/gmock.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include <chrono>
#include <cstring>
#include <nlohmann/json.hpp>
#include <random>

#include "framework/base/file.h"
#include "framework/base/file_lock.h"
#include "framework/io/checkpoint.h"
#include "framework/io/hdf5_reader.h"
#include "framework/io/safetensors.h"
#include "framework/io/sha256.h"
#include "framework/json/json.h"
#include "tests/support/compare.h"
#include "tests/support/small_experiment.h"

namespace quell {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

constexpr const char* kAllFiles[] = {"config.resolved.yaml", "metrics.json",     "results.h5",
                                     "predictions.jsonl",    "environment.json", "log.txt"};

// Of a model whose matrices get so many bits; vectors (biases, norms) stay in float32.
double size_ratio(const fs::path& model, double bits) {
  double matrices = 0, vectors = 0;
  const SafetensorsFile file(model / "model.safetensors");
  for (const std::string& name : file.names()) {
    const at::Tensor tensor = file.read(name);
    (tensor.dim() == 2 ? matrices : vectors) += static_cast<double>(tensor.numel());
  }
  return 32 * (matrices + vectors) / (bits * matrices + 32 * vectors);
}

class RunTest : public testing::Test {
 protected:
  RunTest() { folder_.write("tiny.yaml", tokens_experiment()); }

  ProgramResult run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"run"});
    return run_quell(arguments, folder_.path());
  }
  void expect_run(const std::vector<std::string>& arguments) {
    const ProgramResult result = run(arguments);
    ASSERT_EQ(result.exit_code, 0) << result.errors;
  }
  std::string content(const fs::path& file) { return read_file(folder_.path() / file); }

  TemporaryFolder folder_;
};

TEST_F(RunTest, QuickstartOnAFewSentencesWritesEverything) {
  glue_experiment(folder_);  // for its data
  const ProgramResult result = run({(quickstart() / "w6a6.yaml").string(), "--set",
                                    "task.path=" + (folder_ / "data").string(), "--set",
                                    "calibration.samples=8", "--output", "out"});
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_THAT(result.output, HasSubstr("quickstart-w6a6"));
  EXPECT_THAT(result.output, HasSubstr("quantized"));
  for (const char* name : kAllFiles) {
    EXPECT_GT(fs::file_size(folder_ / "out" / name), 0u) << name;
  }
  EXPECT_EQ(folder_.partial_files(), 0);
  const json metrics = read_json_file(folder_ / "out/metrics.json");
  for (const char* stage : {"float", "weights_only", "activations_only", "quantized"}) {
    EXPECT_GE(metrics["stages"][stage]["accuracy"].get<double>(), 0.0) << stage;
  }
  EXPECT_DOUBLE_EQ(metrics["model_bytes"]["ratio"], size_ratio(quickstart() / "model", 6));
}

TEST_F(RunTest, QuietPrintsTheTableAlone) {
  const ProgramResult result = run({"tiny.yaml", "--quiet"});
  ASSERT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.errors, "");
  EXPECT_THAT(result.output, HasSubstr("tiny"));
}

TEST_F(RunTest, EqualRunsWriteEqualBytes) {
  expect_run({"tiny.yaml", "--output", "first"});
  expect_run({"tiny.yaml", "--output", "second"});
  // From its own resolved configuration, and with two threads instead of one.
  expect_run({"first/config.resolved.yaml", "--output", "third"});
  expect_run({"tiny.yaml", "--output", "fourth", "--set", "threads=2"});
  for (const char* name : kRepeatable) {
    EXPECT_EQ(content(fs::path("first") / name), content(fs::path("second") / name)) << name;
    EXPECT_EQ(content(fs::path("first") / name), content(fs::path("third") / name)) << name;
  }
  for (const char* name : {"metrics.json", "predictions.jsonl"}) {
    EXPECT_EQ(content(fs::path("first") / name), content(fs::path("fourth") / name)) << name;
  }
}

TEST_F(RunTest, RefusesToOverwrite) {
  expect_run({"tiny.yaml"});
  const std::string before = content("runs/tiny/metrics.json");
  const ProgramResult refused = run({"tiny.yaml", "--set", "quant.rules[1].bits=3"});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.errors, HasSubstr("--overwrite"));
  EXPECT_EQ(content("runs/tiny/metrics.json"), before);
  expect_run({"tiny.yaml", "--overwrite", "--set", "quant.rules[1].bits=3"});
  EXPECT_NE(content("runs/tiny/results.h5").size(), 0u);
}

// A run that failed leaves nothing that a corrected run would trip over.
TEST_F(RunTest, ACorrectedRunNeedsNoOverwrite) {
  EXPECT_NE(run({"tiny.yaml", "--set", "task.evaluation_batches=[9]"}).exit_code, 0);
  expect_run({"tiny.yaml"});
}

TEST_F(RunTest, SeveralExperimentsHaveAFolderEach) {
  std::string other = tokens_experiment();
  other.replace(other.find("tiny"), 4, "less");
  folder_.write("other.yaml", other);
  const ProgramResult result = run({"tiny.yaml", "other.yaml", "--output", "out", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_TRUE(fs::exists(folder_ / "out/tiny/metrics.json"));
  EXPECT_TRUE(fs::exists(folder_ / "out/less/metrics.json"));
  EXPECT_EQ(json::parse(result.output)["runs"].size(), 2u);
}

TEST_F(RunTest, PredictionsRestoreEveryFloat) {
  expect_run({"tiny.yaml", "--output", "out"});
  const Hdf5Reader results(folder_ / "out/results.h5");
  std::map<std::string, std::vector<float>> found;
  read_json_lines(folder_ / "out/predictions.jsonl", [&](const json& line, int64_t) {
    for (const auto& [stage, outputs] : line["outputs"].items()) {
      for (const json& value : outputs["logits"]) {
        found[stage].push_back(static_cast<float>(value.get<double>()));
      }
    }
  });
  EXPECT_EQ(found.size(), 4u);
  for (const auto& [stage, values] : found) {
    const at::Tensor stored = results.read_tensor("outputs/" + stage + "/evaluation/logits");
    ASSERT_EQ(stored.numel(), static_cast<int64_t>(values.size())) << stage;
    EXPECT_EQ(std::memcmp(stored.const_data_ptr<float>(), values.data(), values.size() * 4), 0)
        << stage;
  }
}

TEST_F(RunTest, ScoreOfThePredictionsIsTheMetric) {
  folder_.write("glue.yaml", glue_experiment(folder_));
  expect_run({"glue.yaml", "--output", "out"});
  const json metrics = read_json_file(folder_ / "out/metrics.json")["stages"];
  for (const char* stage : {"float", "quantized"}) {
    const ProgramResult result =
        run_quell({"score", "glue", "--set", "name=sst2", "--predictions", "out/predictions.jsonl",
                   "--data", "data/dev.tsv", "--stage", stage, "--json"},
                  folder_.path());
    ASSERT_EQ(result.exit_code, 0) << result.errors;
    EXPECT_EQ(json::parse(result.output)["accuracy"], metrics[stage]["accuracy"]) << stage;
  }
}

TEST_F(RunTest, ResultsOpenInH5py) {
  const std::string python = python_with("h5py");
  if (python.empty()) GTEST_SKIP() << "needs Python with h5py";
  expect_run({"tiny.yaml", "--output", "out"});
  const ProgramResult result = run_command({python, "-c", R"(
import h5py
file = h5py.File("out/results.h5", "r")
assert file.attrs["format"] == "quell results" and file.attrs["version"] == 2
assert list(file.attrs["stages"]) == ["float", "weights_only", "activations_only", "quantized"]
assert file["outputs/quantized/evaluation/logits"].shape == (16, 3)
site = file["sites/activation/encoder.0.ffn.gelu"]
assert site.attrs["bits"] == 8 and site.attrs["key"] == "activation:encoder.0.ffn.gelu"
assert site.attrs["sqnr_db"] > 10 and 0.9 < site.attrs["cosine_to_float"] <= 1
assert site["scale"].shape == (1,) and site["scale"].attrs["unit"]
weight = file["sites/weight/encoder.0.attention.query"]
assert weight["scale"].shape == (64,) and list(weight["scale"].attrs["axes"]) == ["rows"]
print(file["config"][()].decode().splitlines()[0])
print(repr(float(file["model_size"].attrs["ratio"])))
)"},
                                           folder_.path());
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  const size_t second_line = result.output.find('\n') + 1;
  EXPECT_EQ(result.output.substr(0, second_line), "name: tiny\n");
  EXPECT_DOUBLE_EQ(std::stod(result.output.substr(second_line)), size_ratio(tiny_model(), 6));
}

// What the second one would find there is the first one's work.
TEST_F(RunTest, AFolderHasOneRunAtATime) {
  {
    folder_.write("runs/tiny/results.h5.partial", "half");
    const FileLock first = FileLock::exclusive(folder_ / "runs/tiny/run.lock");
    for (const char* earlier : {"--overwrite", "--resume", "--quiet"}) {
      const ProgramResult second = run({"tiny.yaml", earlier});
      EXPECT_EQ(second.exit_code, 2) << earlier;
      EXPECT_THAT(second.errors, HasSubstr("another run is writing to this folder")) << earlier;
    }
    EXPECT_EQ(content("runs/tiny/results.h5.partial"), "half");
  }
  expect_run({"tiny.yaml"});
  EXPECT_EQ(folder_.partial_files(), 0);
  EXPECT_FALSE(fs::exists(folder_ / "runs/tiny/run.lock"));
}

TEST_F(RunTest, OfTwoRunsAtTheSameTimeOneIsRefused) {
  expect_run({"tiny.yaml", "--output", "alone"});
  for (int attempt = 0; attempt < 3; ++attempt) {
    const std::string output = fmt::format("both{}", attempt);
    const std::vector<std::string> command = {"run", "tiny.yaml", "--output", output};
    std::vector<int> codes;
    for (const pid_t child :
         {start_quell(command, folder_.path()), start_quell(command, folder_.path())}) {
      int status = 0;
      ::waitpid(child, &status, 0);
      codes.push_back(WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    }
    EXPECT_THAT(codes, testing::UnorderedElementsAre(0, 2));
    for (const char* name : kRepeatable) {
      EXPECT_EQ(content(fs::path(output) / name), content(fs::path("alone") / name)) << name;
    }
  }
  EXPECT_EQ(folder_.partial_files(), 0);
}

TEST_F(RunTest, ADamagedResultIsADataError) {
  expect_run({"tiny.yaml"});
  for (const char* damaged : {"{}", "[]", "{\"stages\": {}}", "{"}) {
    write_file(folder_ / "runs/tiny/metrics.json", damaged);
    const ProgramResult result = run({"tiny.yaml", "--resume"});
    EXPECT_EQ(result.exit_code, 3) << damaged << result.errors;
    EXPECT_THAT(result.errors, HasSubstr("metrics.json")) << damaged;
  }
}

TEST_F(RunTest, TheNameStaysBelowRuns) {
  for (const char* verb : {"run", "outliers", "sensitivity", "check"}) {
    const ProgramResult result =
        run_quell({verb, "tiny.yaml", "--set", "name=../../elsewhere"}, folder_.path());
    EXPECT_EQ(result.exit_code, 2) << verb;
    EXPECT_THAT(result.errors, HasSubstr("must be the name of one folder")) << verb;
  }
}

// What an earlier or a later version of quell must be able to rely on.
TEST_F(RunTest, TheEnvironmentSaysWhereAndOnWhat) {
  expect_run({"tiny.yaml", "--output", "out"});
  const json environment = read_json_file(folder_ / "out/environment.json");
  for (const char* key : {"quell_version", "libtorch_version", "compiler", "finished", "host",
                          "processor", "instruction_sets"}) {
    EXPECT_FALSE(environment.at(key).get<std::string>().empty()) << key;
  }
  EXPECT_THAT(environment["finished"].get<std::string>(),
              testing::MatchesRegex("20[0-9][0-9]-[0-9]+-[0-9]+T[0-9]+:[0-9]+:[0-9]+Z"));
  EXPECT_EQ(environment["threads"], 1);
  EXPECT_GT(environment["peak_memory_bytes"], int64_t{16} << 20)
      << "no program with LibTorch is smaller";
  EXPECT_EQ(environment["model"]["path"], tiny_model().string());
  EXPECT_EQ(environment["model"]["sha256"], Checkpoint(tiny_model()).fingerprint());
  const std::string inputs = (tiny_model() / "inputs.safetensors").string();
  EXPECT_EQ(environment["data"], json({{inputs, sha256_of_file(inputs)}}));
  for (const char* part : {"load", "float", "calibrate", "weights_only", "quantized"}) {
    EXPECT_GE(environment["seconds"].at(part).get<double>(), 0.0) << part;
  }
}

// A kill at any moment leaves each file complete or absent, and the folder usable.
TEST_F(RunTest, AKillLeavesCompleteFilesOrNone) {
  expect_run({"tiny.yaml", "--output", "whole"});
  const auto start = std::chrono::steady_clock::now();
  expect_run({"tiny.yaml", "--output", "timed"});
  const std::chrono::duration<double> full = std::chrono::steady_clock::now() - start;
  std::mt19937 random(5);
  for (int attempt = 0; attempt < 8; ++attempt) {
    const pid_t child =
        start_quell({"run", "tiny.yaml", "--output", "killed", "--overwrite"}, folder_.path());
    // Most of the interesting moments are near the end, when files are written.
    const double share =
        std::uniform_real_distribution<double>(attempt < 3 ? 0.0 : 0.6, 1.05)(random);
    ::usleep(static_cast<useconds_t>(share * full.count() * 1e6));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    for (const char* name : kRepeatable) {
      const fs::path file = folder_ / "killed" / name;
      if (!fs::exists(file)) continue;
      EXPECT_EQ(read_file(file), content(fs::path("whole") / name)) << name;
    }
    if (fs::exists(folder_ / "killed/metrics.json")) {
      for (const char* name : kAllFiles) EXPECT_TRUE(fs::exists(folder_ / "killed" / name)) << name;
    }
  }
  expect_run({"tiny.yaml", "--output", "killed", "--overwrite"});
  EXPECT_EQ(folder_.partial_files(), 0);
}

}  // namespace
}  // namespace quell
