// `quell sweep --slurm` on a real Slurm of one node, which the test starts for itself.
#include <gmock/gmock.h>

#include <signal.h>
#include <stdlib.h>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "framework/base/file.h"
#include "framework/json/json.h"
#include "tests/support/small_experiment.h"

namespace quell {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

// One task at a time, so that the test can come in between.
const std::string kSweep =
    std::string(kFewCells) + "slurm: {array_limit: 1, time: \"0:10:00\", memory: 500M}\n";

class SlurmTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    cluster_ = std::make_unique<TemporaryFolder>();
    const ProgramResult started = run_command({tool("start_local.sh"), cluster_->path()}, "/");
    skipped_ = started.exit_code != 0;
    message_ = started.errors;
    if (!skipped_) ::setenv("SLURM_CONF", (*cluster_ / "slurm.conf").c_str(), 1);
  }
  static void TearDownTestSuite() {
    if (!skipped_) run_command({tool("stop_local.sh"), cluster_->path()}, "/");
    cluster_.reset();
  }
  static std::string tool(const std::string& name) {
    return (source_folder() / "tools/slurm" / name).string();
  }

  void SetUp() override {
    if (skipped_) GTEST_SKIP() << message_;
    folder_.write("few.yaml", glue_experiment(folder_));
    folder_.write("sweep.yaml", kSweep);
  }
  void TearDown() override {
    if (skipped_) return;
    run_command({"scancel", "--user=root"}, "/");
    wait_until([&] { return tasks().empty(); });
  }

  ProgramResult quell(const std::vector<std::string>& arguments) {
    return run_quell(arguments, folder_.path());
  }
  ProgramResult submit(const std::vector<std::string>& options = {}) {
    std::vector<std::string> arguments = {"sweep", "sweep.yaml", "--slurm"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    return quell(arguments);
  }
  // The number behind "job ".
  static std::string job_of(const ProgramResult& submitted) {
    const size_t begin = submitted.output.find("job ");
    if (begin == std::string::npos) return "";
    return submitted.output.substr(begin + 4, submitted.output.find(':') - begin - 4);
  }
  // What Slurm has to do, one line per task: "RUNNING 1".
  static std::string tasks() {
    return run_command({"squeue", "--noheader", "--array", "--format=%T %K"}, "/").output;
  }
  static bool wait_until(const std::function<bool()>& condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(180);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return true;
  }
  void wait_for_the_end() {
    ASSERT_TRUE(wait_until([&] { return tasks().empty(); })) << tasks() << outputs();
  }
  void set_node(const std::string& state) {
    const ProgramResult result =
        run_command({"scontrol", "update", "nodename=local", "state=" + state, "reason=test"}, "/");
    ASSERT_EQ(result.exit_code, 0) << result.errors;
  }

  // Folders of finished cells, and when they were finished.
  std::map<fs::path, fs::file_time_type> finished() {
    std::map<fs::path, fs::file_time_type> result;
    for (const auto& entry : fs::directory_iterator(folder_ / "out")) {
      const fs::path file = entry.path() / "metrics.json";
      if (fs::exists(file)) result[entry.path()] = fs::last_write_time(file);
    }
    return result;
  }
  // Whether a cell is being computed.
  bool in_flight() {
    for (const auto& entry : fs::directory_iterator(folder_ / "out")) {
      if (fs::exists(entry.path() / "output.txt") && !fs::exists(entry.path() / "metrics.json")) {
        return true;
      }
    }
    return false;
  }
  // What the tasks have said.
  std::string outputs() {
    std::string text;
    for (const auto& entry : fs::recursive_directory_iterator(folder_ / "out/slurm")) {
      if (entry.path().filename().string().starts_with("task_")) text += read_file(entry.path());
    }
    return text;
  }
  size_t count_in_outputs(const std::string& wanted) {
    const std::string text = outputs();
    size_t count = 0;
    for (size_t at = text.find(wanted); at != std::string::npos; at = text.find(wanted, at + 1)) {
      ++count;
    }
    return count;
  }
  void expect_the_bytes_of_a_local_sweep() {
    const ProgramResult local = quell({"sweep", "sweep.yaml", "--output", "local"});
    ASSERT_EQ(local.exit_code, 0) << local.errors;
    const json index = read_json_file(folder_ / "local/sweep.json");
    for (const json& cell : index["cells"]) {
      const std::string name = cell["folder"];
      for (const char* file : kRepeatable) {
        EXPECT_EQ(read_file(folder_ / "out" / name / file),
                  read_file(folder_ / "local" / name / file))
            << name << " " << file;
      }
      EXPECT_FALSE(fs::exists(folder_ / "out" / name / "error.txt"));
    }
    EXPECT_EQ(read_file(folder_ / "out/sweep.json"), read_file(folder_ / "local/sweep.json"));
    EXPECT_EQ(folder_.partial_files(), 0);
  }

  static std::unique_ptr<TemporaryFolder> cluster_;
  static bool skipped_;
  static std::string message_;
  TemporaryFolder folder_;
};

std::unique_ptr<TemporaryFolder> SlurmTest::cluster_;
bool SlurmTest::skipped_ = false;
std::string SlurmTest::message_;

TEST_F(SlurmTest, AJobArrayEndsInTheBytesOfALocalSweep) {
  const ProgramResult submitted = submit();
  ASSERT_EQ(submitted.exit_code, 0) << submitted.errors;
  EXPECT_THAT(submitted.output, HasSubstr(": 4 cells in 4 tasks"));
  // What is queued is not submitted again.
  const ProgramResult again = submit();
  EXPECT_THAT(again.output, HasSubstr("nothing to submit"));
  EXPECT_THAT(again.errors, HasSubstr(" queued already"));
  wait_for_the_end();
  expect_the_bytes_of_a_local_sweep();
  EXPECT_EQ(count_in_outputs(": accuracy"), 4u) << outputs();
  EXPECT_THAT(submit().errors, HasSubstr("4 done"));
}

TEST_F(SlurmTest, ACancelledArrayIsSubmittedAgainAndCompletes) {
  const std::string job = job_of(submit());
  ASSERT_TRUE(wait_until([&] { return !finished().empty() && in_flight(); })) << outputs();
  EXPECT_EQ(run_command({"scancel", job}, "/").exit_code, 0);
  wait_for_the_end();
  const auto before = finished();
  ASSERT_LT(before.size(), 4u) << "the array was faster than the test";
  const json index = read_json_file(folder_ / "out/sweep.json");
  for (const json& cell : index.at("cells")) {
    EXPECT_NE(cell["status"], "failed") << outputs();
  }
  const ProgramResult again = submit();
  EXPECT_THAT(again.output, HasSubstr(fmt::format(": {} cells in", 4 - before.size())));
  wait_for_the_end();
  const auto after = finished();
  for (const auto& [folder, time] : before) EXPECT_EQ(after.at(folder), time) << "done again";
  expect_the_bytes_of_a_local_sweep();
}

TEST_F(SlurmTest, ADrainedNodeGoesOnWhenItIsBack) {
  ASSERT_EQ(submit().exit_code, 0);
  ASSERT_TRUE(wait_until([&] { return !finished().empty(); })) << outputs();
  set_node("drain");
  ASSERT_TRUE(wait_until([&] {  // what runs ends, the rest waits
    const std::string left = tasks();
    return left.find("RUNNING") == std::string::npos &&
           left.find("COMPLETING") == std::string::npos;
  }));
  EXPECT_THAT(tasks(), HasSubstr("PENDING"));
  EXPECT_LT(finished().size(), 4u);
  EXPECT_THAT(submit().output, HasSubstr("nothing to submit"));
  set_node("resume");
  wait_for_the_end();
  expect_the_bytes_of_a_local_sweep();
  EXPECT_EQ(count_in_outputs(": accuracy"), 4u) << outputs();
}

TEST_F(SlurmTest, TasksOfANodeThatFailsStartAgain) {
  ASSERT_EQ(submit().exit_code, 0);
  ASSERT_TRUE(wait_until([&] { return !finished().empty() && in_flight(); })) << outputs();
  set_node("down");
  EXPECT_LT(finished().size(), 4u);
  ASSERT_TRUE(wait_until([&] {  // it may also come back by itself
    run_command({"scontrol", "update", "nodename=local", "state=resume"}, "/");
    return run_command({"sinfo", "--noheader", "--format=%T"}, "/").output.find("down") ==
           std::string::npos;
  }));
  wait_for_the_end();
  EXPECT_GT(count_in_outputs("1 cells in"), 4u) << outputs();  // one task has begun twice
  expect_the_bytes_of_a_local_sweep();
}

// A cell that only fails when it runs: nothing finds ranges for what is to be learned.
TEST_F(SlurmTest, AFailedCellKeepsItsErrorAndIsRetriedOnDemand) {
  folder_.write("sweep.yaml",
                "base: few.yaml\noutput: out\nlist:\n- {seed: 1}\n- {pipeline: [learn_scales]}\n"
                "slurm: {cells_per_task: 2}\n");
  EXPECT_THAT(submit().output, HasSubstr("2 cells in 1 tasks"));
  wait_for_the_end();
  EXPECT_EQ(finished().size(), 1u);
  const json index = read_json_file(folder_ / "out/sweep.json");
  EXPECT_EQ(index["cells"][0]["status"], "done");
  EXPECT_EQ(index["cells"][1]["status"], "failed");
  const fs::path error =
      folder_ / "out" / index["cells"][1]["folder"].get<std::string>() / "error.txt";
  EXPECT_THAT(read_file(error), HasSubstr("learn_scales"));
  write_file(error, "the first time");
  EXPECT_THAT(submit().output, HasSubstr("nothing to submit"));
  EXPECT_THAT(submit({"--retry"}).output, HasSubstr("1 cells in 1 tasks"));
  wait_for_the_end();
  EXPECT_THAT(read_file(error), HasSubstr("learn_scales"));
}

TEST_F(SlurmTest, ARefusalOfSlurmIsShown) {
  folder_.write("sweep.yaml",
                "base: few.yaml\noutput: out\ngrid: {seed: [1]}\nslurm: {partition: log}\n");
  const ProgramResult result = submit();
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.errors, HasSubstr("invalid partition specified: log"));
}

}  // namespace
}  // namespace quell
