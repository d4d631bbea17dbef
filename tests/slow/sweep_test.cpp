// `quell sweep`, `report` and `compare` as a user sees them.
#include <gmock/gmock.h>

#include <signal.h>
#include <sys/wait.h>
#include <chrono>
#include <fstream>
#include <future>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <thread>

#include "framework/base/file.h"
#include "framework/json/json.h"
#include "tests/support/small_experiment.h"

namespace quell {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

// What a search computed and did not know: "731 of 7200 sequence runs" in the log.
int64_t sequence_runs(const fs::path& run) {
  const std::string log = read_file(run / "log.txt");
  std::smatch found;
  const std::regex pattern("(\\d+) of \\d+ sequence runs");
  return std::regex_search(log, found, pattern) ? std::stoll(found[1]) : -1;
}

class SweepTest : public testing::Test {
 protected:
  SweepTest() {
    folder_.write("few.yaml", glue_experiment(folder_));
    folder_.write("sweep.yaml", kFewCells);
  }

  ProgramResult quell(const std::vector<std::string>& arguments) {
    return run_quell(arguments, folder_.path());
  }
  // Folders of finished cells by their settings, and when they were finished.
  std::map<fs::path, fs::file_time_type> finished(const fs::path& output = "out") {
    std::map<fs::path, fs::file_time_type> result;
    if (!fs::exists(folder_.path() / output)) return result;
    for (const auto& entry : fs::directory_iterator(folder_.path() / output)) {
      const fs::path file = entry.path() / "metrics.json";
      if (fs::exists(file)) result[entry.path()] = fs::last_write_time(file);
    }
    return result;
  }
  // Starts a sweep and sends it a signal once `cells` cells are done; its exit status.
  int interrupt(int signal, size_t cells) {
    const pid_t child = start_quell({"sweep", "sweep.yaml"}, folder_.path());
    int status = 0;
    while (finished().size() < cells) {
      if (::waitpid(child, &status, WNOHANG) == child) return status;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    ::kill(child, signal);
    ::waitpid(child, &status, 0);
    return status;
  }
  // Interrupts a sweep of four cells, or of more where the machine is done with them before the
  // signal comes. How many they are.
  size_t interrupt_halfway(int signal, int& status) {
    constexpr size_t kMost = 128;
    std::string seeds = "1, 2";
    for (size_t cells = 4; cells <= kMost; cells *= 2) {
      std::string sweep = kFewCells;
      folder_.write("sweep.yaml", sweep.replace(sweep.find("1, 2"), 4, seeds));
      fs::remove_all(folder_ / "out");
      status = interrupt(signal, 1);
      const bool reached = WIFSIGNALED(status) || WEXITSTATUS(status) == 130;
      if (reached && finished().size() < cells) return cells;
      for (size_t seed = cells / 2; seed < cells; ++seed) seeds += fmt::format(", {}", seed + 1);
    }
    ADD_FAILURE() << "the sweep is faster than the test";
    return 0;
  }
  // Whether a process of ours has the cell.
  bool all_idle() {
    for (const auto& entry : fs::directory_iterator(folder_ / "out")) {
      if (fs::exists(entry.path() / "lock") &&
          run_command({"flock", "-n", (entry.path() / "lock").string(), "true"}, "/").exit_code) {
        return false;
      }
    }
    return true;
  }

  TemporaryFolder folder_;
};

TEST_F(SweepTest, AKilledSweepGoesOnAndEndsInTheBytesOfSingleRuns) {
  int status = 0;
  const size_t cells = interrupt_halfway(SIGKILL, status);
  ASSERT_TRUE(WIFSIGNALED(status));
  const auto before = finished();
  ASSERT_LT(before.size(), cells);
  const ProgramResult resumed = quell({"sweep", "sweep.yaml", "--workers", "2"});
  ASSERT_EQ(resumed.exit_code, 0) << resumed.errors;
  EXPECT_THAT(resumed.output, HasSubstr(fmt::format("{0} of {0} cells done", cells)));
  const auto after = finished();
  ASSERT_EQ(after.size(), cells);
  for (const auto& [folder, time] : before) EXPECT_EQ(after.at(folder), time) << "done again";
  const json index = read_json_file(folder_ / "out/sweep.json");
  for (const json& cell : index["cells"]) {
    const std::string bits = cell["settings"]["rules[0].bits"], seed = cell["settings"]["seed"];
    const ProgramResult single =
        quell({"run", "few.yaml", "--set", "rules[0].bits=" + bits, "--set", "seed=" + seed,
               "--set", "stages=[float, quantized]", "--output", "single", "--overwrite"});
    ASSERT_EQ(single.exit_code, 0) << single.errors;
    for (const char* name : kRepeatable) {
      EXPECT_EQ(read_file(folder_ / "out" / cell["folder"].get<std::string>() / name),
                read_file(folder_ / "single" / name))
          << cell["folder"] << " " << name;
    }
  }
  // Nothing is left to do, and nothing is done.
  EXPECT_EQ(quell({"sweep", "sweep.yaml"}).exit_code, 0);
  EXPECT_EQ(finished(), after);
  EXPECT_EQ(folder_.partial_files(), 0);
}

TEST_F(SweepTest, ASignalStopsTheProcessesOfTheCells) {
  int status = 0;
  const size_t cells = interrupt_halfway(SIGTERM, status);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 130);
  EXPECT_LT(finished().size(), cells);
  EXPECT_TRUE(all_idle());
  const json index = read_json_file(folder_ / "out/sweep.json");
  // The cell that the test saw may have been stopped between its last file and its tidying up.
  size_t done = 0;
  for (const json& cell : index["cells"]) done += cell["status"] == "done";
  EXPECT_LE(done, finished().size());
  EXPECT_EQ(index["cells"].back()["status"], "waiting");
  const ProgramResult report = quell({"report", "out"});
  EXPECT_THAT(report.output, HasSubstr("missing")) << report.errors;
}

// Batch systems send the signal to all processes, in any order.
TEST_F(SweepTest, ASignalThatReachesTheCellFirstIsNoFailure) {
  for (const bool whole_sweep : {true, false}) {
    const pid_t sweep = start_quell({"sweep", "sweep.yaml"}, folder_.path());
    const fs::path children = fmt::format("/proc/{0}/task/{0}/children", sweep);
    pid_t cell = 0;
    const auto has_begun = [&] {  // until then its signals are handled as those of the sweep
      std::string command;
      std::getline(std::ifstream(fmt::format("/proc/{}/cmdline", cell)), command);
      return command.find("--resume") != std::string::npos;
    };
    while (!(std::ifstream(children) >> cell) || !has_begun()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    ::kill(cell, SIGTERM);
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    if (whole_sweep) ::kill(sweep, SIGTERM);
    int status = 0;
    ::waitpid(sweep, &status, 0);
    EXPECT_EQ(WEXITSTATUS(status), whole_sweep ? 130 : 1);
    const json index = read_json_file(folder_ / "out/sweep.json");
    EXPECT_EQ(index["cells"][0]["status"], whole_sweep ? "waiting" : "failed");
  }
}

TEST_F(SweepTest, TwoSweepsShareTheCells) {
  const auto sweep = [&] { return quell({"sweep", "sweep.yaml"}); };
  auto other = std::async(std::launch::async, sweep);
  const ProgramResult first = sweep(), second = other.get();
  EXPECT_EQ(first.exit_code, 0) << first.errors;
  EXPECT_EQ(second.exit_code, 0) << second.errors;
  const std::string said = first.errors + second.errors;
  size_t runs = 0;
  for (size_t at = said.find(": accuracy"); at != std::string::npos;
       at = said.find(": accuracy", at + 1)) {
    ++runs;
  }
  EXPECT_EQ(runs, 4u) << said;
}

// A cell that only fails when it runs: nothing finds ranges for what is to be learned.
// Two cells with a search in common, and one more step in the second.
TEST_F(SweepTest, CellsShareWhatTheyHaveInCommon) {
  folder_.write("clipping.yaml", R"(
base: few.yaml
quant:
  rules:
    - {sites: "weight:*", bits: 4}
    - {sites: "activation:*", bits: 4, observer: prune_minmax, quantizer: lsq_plus}
pipeline: [token_wise_clipping: {step: 0.001, iterations: 300, early_abandon: false}]
)");
  folder_.write("learning.yaml", R"(
base: clipping.yaml
pipeline:
  - token_wise_clipping: {step: 0.001, iterations: 300, early_abandon: false}
  - learn_scales: {epochs: 1}
)");
  folder_.write("steps.yaml",
                "list: [base: learning.yaml, base: clipping.yaml]\n"
                "set: {stages: [float, quantized], threads: 1}\n");
  for (const char* output : {"alone", "shared"}) {
    std::vector<std::string> arguments = {"sweep", "steps.yaml", "--output", output};
    if (output == std::string("alone")) arguments.push_back("--no-cache");
    const ProgramResult result = quell(arguments);
    ASSERT_EQ(result.exit_code, 0) << result.errors;
  }
  EXPECT_FALSE(fs::exists(folder_ / "alone/cache"));
  for (const auto& [folder, time] : finished("shared")) {
    const fs::path alone = folder_ / "alone" / folder.filename();
    for (const char* name : kRepeatable) {
      EXPECT_EQ(read_file(folder / name), read_file(alone / name)) << folder << " " << name;
    }
    // The shorter pipeline runs first, and the longer one goes on from its search.
    if (!folder.filename().string().starts_with("learning")) continue;
    EXPECT_GT(sequence_runs(alone), 2000);
    EXPECT_LT(sequence_runs(folder), sequence_runs(alone) / 2);
  }
}

TEST_F(SweepTest, AFailedCellKeepsItsErrorAndIsRetriedOnDemand) {
  folder_.write("sweep.yaml",
                "base: few.yaml\noutput: out\nlist:\n- {seed: 1}\n- {pipeline: [learn_scales]}\n");
  const ProgramResult first = quell({"sweep", "sweep.yaml"});
  EXPECT_EQ(first.exit_code, 1);
  EXPECT_THAT(first.output, HasSubstr("1 of 2 cells done, 1 failed"));
  fs::path error;
  for (const auto& entry : fs::recursive_directory_iterator(folder_ / "out")) {
    if (entry.path().filename() == "error.txt") error = entry.path();
  }
  ASSERT_FALSE(error.empty());
  EXPECT_THAT(read_file(error), HasSubstr("learn_scales"));
  write_file(error, "the first time");
  EXPECT_EQ(quell({"sweep", "sweep.yaml"}).exit_code, 1);
  EXPECT_EQ(read_file(error), "the first time");
  EXPECT_EQ(quell({"sweep", "sweep.yaml", "--retry"}).exit_code, 1);
  EXPECT_THAT(read_file(error), HasSubstr("learn_scales"));
}

TEST_F(SweepTest, ADryRunListsTheCellsAndWritesNothing) {
  const ProgramResult result = quell({"sweep", "sweep.yaml", "--dry-run"});
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_THAT(result.output, HasSubstr("bits=3_seed=2"));
  EXPECT_FALSE(fs::exists(folder_ / "out"));
  EXPECT_EQ(quell({"sweep", "none.yaml"}).exit_code, 2);
  EXPECT_EQ(quell({"sweep", "sweep.yaml", "--set", "rules[0].bits=3"}).exit_code, 2);
}

TEST_F(SweepTest, ReportAndCompareReadTheRuns) {
  ASSERT_EQ(quell({"sweep", "sweep.yaml", "--workers", "2"}).exit_code, 0);
  const ProgramResult csv = quell({"report", "out", "--format", "csv", "--output", "table.csv"});
  ASSERT_EQ(csv.exit_code, 0) << csv.errors;
  EXPECT_THAT(read_file(folder_ / "table.csv"), HasSubstr("6,quantized,accuracy,2,2,"));
  const ProgramResult tested =
      quell({"report", "out", "--baseline", "stage=float", "--format", "markdown"});
  EXPECT_THAT(tested.output, HasSubstr("accuracy in percent, stage quantized")) << tested.errors;

  const json index = read_json_file(folder_ / "out/sweep.json");
  const auto run = [&](size_t cell) {
    return (folder_ / "out" / index["cells"][cell]["folder"].get<std::string>()).string();
  };
  const ProgramResult compared = quell({"compare", run(0), run(2), "--json"});
  ASSERT_EQ(compared.exit_code, 0) << compared.errors;
  const json difference = json::parse(compared.output);
  ASSERT_EQ(difference["experiment"].size(), 1u);
  EXPECT_THAT(difference["experiment"][0]["key"].get<std::string>(), HasSubstr(".bits"));
  EXPECT_EQ(difference["experiment"][0]["a"], "6");
  EXPECT_EQ(difference["experiment"][0]["b"], "3");
  EXPECT_EQ(difference["stages"][0]["flipped"], 0);  // float is the same
  EXPECT_EQ(difference["stages"][0]["unequal"], 0);
  EXPECT_EQ(difference["stages"][1]["unequal"], 12);
  const ProgramResult same = quell({"compare", run(0), run(0)});
  EXPECT_THAT(same.output, HasSubstr("experiment: the same"));
  EXPECT_THAT(same.output, HasSubstr("results.h5"));
}

}  // namespace
}  // namespace quell
