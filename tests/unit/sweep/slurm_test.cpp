// Sweeps as job arrays: the section of the file, the script, and submissions to commands that only
// pretend to be Slurm's. A real Slurm: tests/slow/slurm_test.cpp.
#include "framework/sweep/slurm.h"

#include <gmock/gmock.h>

#include <stdlib.h>
#include <nlohmann/json.hpp>
#include <thread>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/json/json.h"
#include "framework/sweep/index.h"
#include "framework/sweep/prepared_cells.h"
#include "framework/sweep/slurm_script.h"
#include "tests/support/small_experiment.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class SlurmOptionsTest : public testing::Test {
 protected:
  SlurmOptions load(const std::string& text) {
    return load_sweep_file(folder_.write("table.yaml", text)).slurm;
  }
  TemporaryFolder folder_;
};

TEST_F(SlurmOptionsTest, TheFileSaysWhatATaskAsksFor) {
  const SlurmOptions options = load(
      "slurm:\n"
      "  partition: long\n"
      "  time: 1-12:00:00\n"
      "  memory: 16G\n"
      "  cpus_per_task: 4\n"
      "  setup: module load gcc\n"
      "  options: [--qos=low, --mail-type=END]\n"
      "grid: {seed: [1]}\n");
  EXPECT_EQ(options.partition, "long");
  EXPECT_EQ(options.time, "1-12:00:00");
  EXPECT_EQ(options.memory, "16G");
  EXPECT_EQ(options.cpus_per_task, 4);
  EXPECT_EQ(options.array_limit, 0);
  EXPECT_THAT(options.setup, ElementsAre("module load gcc"));
  EXPECT_THAT(options.options, ElementsAre("--qos=low", "--mail-type=END"));
  EXPECT_EQ(load("grid: {seed: [1]}").cpus_per_task, 1);
}

TEST_F(SlurmOptionsTest, MistakesAreShownWithTheirLines) {
  const auto mistakes = [&](const std::string& text) {
    return message_of<ConfigError>([&] { load("grid: {seed: [1]}\nslurm:\n  " + text + "\n"); });
  };
  EXPECT_THAT(mistakes("partitoin: long"),
              HasSubstr("table.yaml:3:3: slurm.partitoin: unknown key; did you mean "
                        "\"partition\"?"));
  EXPECT_THAT(mistakes("cpus_per_task: 0"), HasSubstr("3:18: slurm.cpus_per_task: must be in"));
  // Slurm would understand two minutes and a half, and 16 megabytes.
  EXPECT_THAT(mistakes("time: 2:30"), HasSubstr("3:9: slurm.time: expected hours"));
  EXPECT_THAT(mistakes("memory: '16'"), HasSubstr("3:11: slurm.memory: expected a size"));
  EXPECT_THAT(mistakes("options: [-p long]"), HasSubstr("one long option of sbatch"));
  EXPECT_THAT(mistakes("options: [--mem=3G]"), HasSubstr("--mem has a key of its own: memory"));
  EXPECT_THAT(mistakes("options: [--output=x]"), HasSubstr("--output is set by quell"));
  EXPECT_THAT(message_of<ConfigError>([&] { load("slurm: long\ngrid: {seed: [1]}"); }),
              HasSubstr("slurm: expected a map"));
}

TEST(SlurmTasks, KeepToTheLimitOfTheCluster) {
  const std::vector<std::string> cells = {"a", "b", "c", "d", "e"};
  SlurmOptions options;
  EXPECT_EQ(slurm_tasks(cells, options, 1001).size(), 5u);
  EXPECT_EQ(slurm_tasks(cells, options, 6).size(), 5u);  // indices 1 to 5
  EXPECT_THAT(slurm_tasks(cells, options, 4),
              ElementsAre(ElementsAre("a", "b"), ElementsAre("c", "d"), ElementsAre("e")));
  options.cells_per_task = 4;
  EXPECT_THAT(slurm_tasks(cells, options, 1001),
              ElementsAre(ElementsAre("a", "b", "c", "d"), ElementsAre("e")));
  options.cells_per_task = 1;
  EXPECT_THAT(message_of<ConfigError>([&] { slurm_tasks(cells, options, 4); }),
              HasSubstr("1 makes 5 tasks of 5 cells, and this cluster allows 3 per job array; "
                        "write 2 or more"));
  EXPECT_THAT(message_of<ConfigError>([&] { slurm_tasks(cells, {}, 0); }),
              HasSubstr("does not allow job arrays"));
}

TEST(SlurmScript, SaysEverythingThatTheFileSays) {
  SlurmOptions options;
  options.partition = "long";
  options.time = "2:30:00";
  options.memory = "16G";
  options.cpus_per_task = 4;
  options.gpus = 1;
  options.array_limit = 8;
  options.setup = {"module load gcc"};
  options.options = {"--qos=low"};
  SlurmJob job{"my bits", "/bin/quell", "/home/me", "/runs/bits", "/runs/bits/slurm/3"};
  job.tasks = {{"a", "b"}, {"c"}};
  EXPECT_EQ(slurm_script(job, options), R"(#!/bin/bash
# Cells of the sweep my-bits, as `quell sweep --slurm` submits them.
#SBATCH --job-name=quell-my-bits
#SBATCH --array=1-2%8
#SBATCH --output="/runs/bits/slurm/3/task_%a.txt"
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --gres=gpu:1
#SBATCH --partition="long"
#SBATCH --time="2:30:00"
#SBATCH --mem="16G"
#SBATCH --qos=low

set -e
cd '/home/me'
module load gcc
export QUELL_THREADS=${SLURM_CPUS_PER_TASK:-1}
cells=$(sed -n "${SLURM_ARRAY_TASK_ID}p" '/runs/bits/slurm/3/cells.txt')
exec '/bin/quell' sweep '/runs/bits' --cells $cells
)");
  EXPECT_EQ(slurm_cell_list(job), "a b\nc\n");
}

TEST(SlurmScript, IsRightAboutUnusualNames) {
  const TemporaryFolder place;
  const fs::path output = place / "it's 100% \"mine\"";
  const fs::path program = place.write("it's a program",
                                       "#!/bin/bash\n"
                                       "printf '%s|' \"$PWD\" \"$QUELL_THREADS\" \"$@\"\n");
  fs::permissions(program, fs::perms::owner_all);
  SlurmJob job{"x", program, place.path(), output, output / "slurm/1"};
  job.tasks = {{"a", "b"}, {"c", "d"}};
  job.retry = true;
  fs::create_directories(job.folder);
  write_file(job.folder / kSlurmScript, slurm_script(job, {}));
  write_file(job.folder / kSlurmCells, slurm_cell_list(job));
  const ProgramResult result = run_command({"env", "SLURM_ARRAY_TASK_ID=2", "SLURM_CPUS_PER_TASK=3",
                                            "bash", (job.folder / kSlurmScript).string()},
                                           "/");
  EXPECT_EQ(result.output,
            place.path().string() + "|3|sweep|" + output.string() + "|--retry|--cells|c|d|")
      << result.errors;
  EXPECT_THAT(read_file(job.folder / kSlurmScript),
              HasSubstr("/it's 100%% \\\"mine\\\"/slurm/1/task_%a.txt\"\n"));
}

// Behind a line break, bash would run what follows, and sbatch read another directive.
TEST(SlurmScript, HasNoLineBreaksInside) {
  const std::string end = "\ntouch /tmp/owned";
  const SlurmJob good{"x", "/bin/quell", "/home", "/runs", "/runs/slurm/1", {{"a"}}};
  slurm_script(good, {});
  for (fs::path SlurmJob::*path :
       {&SlurmJob::program, &SlurmJob::working_folder, &SlurmJob::output, &SlurmJob::folder}) {
    for (const std::string& text :
         {end, std::string("\r"), std::string("\x1b[A"), std::string(1, '\0')}) {
      SlurmJob job = good;
      job.*path = (good.*path).string() + text;
      EXPECT_THAT(message_of<ConfigError>([&] { slurm_script(job, {}); }), HasSubstr("line break"));
    }
  }
  for (std::string SlurmOptions::*setting : {&SlurmOptions::partition, &SlurmOptions::account,
                                             &SlurmOptions::time, &SlurmOptions::memory}) {
    SlurmOptions options;
    options.*setting = "1" + end;
    EXPECT_THAT(message_of<ConfigError>([&] { slurm_script(good, options); }),
                HasSubstr("line break"));
  }
  SlurmOptions options;
  options.options = {"--qos=low" + end};
  EXPECT_THAT(message_of<ConfigError>([&] { slurm_script(good, options); }),
              HasSubstr("line break"));
}

constexpr const char* kSweep = "base: tiny.yaml\noutput: out\ngrid: {seed: [1, 2, 3]}\n";

// Commands in a folder of their own, which is all of PATH.
class SlurmTest : public testing::Test {
 protected:
  SlurmTest() : path_(::getenv("PATH")), output_(folder_ / "out") {
    folder_.write("tiny.yaml", tokens_experiment());
    sweep_ = load_sweep_file(folder_.write("sweep.yaml", kSweep));
    cells_ = load_cells(sweep_, all_plugins());
    Log log(Verbosity::kQuiet);
    fingerprint_cells(cells_, all_plugins(), log);
    command("sbatch", "echo \"$@\" >> '" + (folder_ / "submitted").string() + "'; echo '42;here'");
    command("scontrol", "echo 'MaxArraySize            = 3'");
    command("squeue", "true");
    ::setenv("PATH", (folder_ / "bin").c_str(), 1);
  }
  ~SlurmTest() override { ::setenv("PATH", path_.c_str(), 1); }

  void command(const std::string& name, const std::string& body) {
    const fs::path file = folder_.write("bin/" + name, "#!/bin/bash\n" + body + "\n");
    fs::permissions(file, fs::perms::owner_all);
  }
  SlurmSubmission submit(bool retry = false, bool dry_run = false) {
    SweepOptions options{"/proc/self/exe", output_};
    options.retry = retry;
    return submit_sweep(sweep_, cells_, options, dry_run);
  }
  std::string name(size_t cell) const { return cells_[cell].folder_name(); }
  // As a task leaves it.
  void settle(size_t cell, const char* file) {
    write_file(output_ / name(cell) / file, "{\"stages\": {}}");
  }
  std::string refused() {
    return message_of<Error>([&] { submit(); });
  }

  TemporaryFolder folder_;
  std::string path_;
  fs::path output_;
  SweepFile sweep_;
  std::vector<Cell> cells_;
};

TEST_F(SlurmTest, ASubmissionWritesWhatTheTasksRead) {
  const SlurmSubmission submission = submit();
  EXPECT_EQ(submission.job, "42");
  EXPECT_EQ(submission.cells, 3u);
  EXPECT_EQ(submission.tasks, 2u);  // MaxArraySize
  EXPECT_EQ(submission.folder, output_ / "slurm/1");
  EXPECT_EQ(read_file(folder_ / "submitted"),
            "--parsable " + (output_ / "slurm/1/job.sh").string() + "\n");
  EXPECT_EQ(read_file(output_ / "slurm/1/job.sh"), submission.script);
  EXPECT_EQ(read_file(output_ / "slurm/1/cells.txt"),
            name(0) + " " + name(1) + "\n" + name(2) + "\n");
  EXPECT_EQ(read_sweep_index(output_).cells.size(), 3u);
  const std::vector<Cell> read = load_prepared_cells(output_, {name(2), name(0)}, all_plugins());
  ASSERT_EQ(read.size(), 2u);
  EXPECT_EQ(read[0].label, cells_[2].label);
  EXPECT_EQ(read[0].config, cells_[2].config);
  EXPECT_EQ(read[0].fingerprint, cells_[2].fingerprint);
  EXPECT_EQ(cell_label(read[0].settings), cells_[2].label);
  EXPECT_EQ(folder_.partial_files(), 0);
}

TEST_F(SlurmTest, OnlyWhatIsLeftIsSubmitted) {
  submit();
  settle(0, "metrics.json");
  settle(1, kErrorFile);
  // The first task of the first submission ends, the second one waits; others are not ours.
  command("squeue", "echo '1|COMPLETING|" + (output_ / "slurm/1/job.sh").string() + "'\n" +
                        "echo '2|PENDING|" + (output_ / "slurm/1/job.sh").string() + "'\n" +
                        "echo '1|RUNNING|/elsewhere/slurm/1/job.sh'\necho 'N/A|RUNNING|bash'");
  const SlurmSubmission nothing = submit();
  EXPECT_EQ(nothing.cells, 0u);
  EXPECT_EQ(nothing.queued, 1u);
  EXPECT_FALSE(fs::exists(output_ / "slurm/2"));
  const SlurmSubmission retried = submit(true);
  EXPECT_EQ(retried.cells, 1u);
  EXPECT_EQ(read_file(output_ / "slurm/2/cells.txt"), name(1) + "\n");
  EXPECT_THAT(retried.script, HasSubstr("--retry --cells"));
  command("squeue", "true");  // cancelled
  EXPECT_EQ(submit().cells, 1u);
  EXPECT_EQ(read_file(output_ / "slurm/3/cells.txt"), name(2) + "\n");
}

TEST_F(SlurmTest, ADryRunWritesNothing) {
  EXPECT_THAT(submit(false, true).script, HasSubstr("#SBATCH --array=1-2\n"));
  fs::remove(folder_ / "bin/sbatch");
  EXPECT_THAT(submit(false, true).script, HasSubstr("#SBATCH --array=1-3\n"));  // without Slurm
  EXPECT_FALSE(fs::exists(output_));
}

TEST_F(SlurmTest, RefusalsAreShown) {
  command("sbatch", "echo 'sbatch: error: invalid partition: log' >&2; exit 1");
  EXPECT_THAT(refused(), HasSubstr("sbatch: error: invalid partition: log"));
  EXPECT_THAT(refused(), HasSubstr("slurm: of the sweep file"));
  command("squeue", "echo 'Unable to contact slurm controller' >&2; exit 1");
  EXPECT_THAT(refused(), HasSubstr("Unable to contact slurm controller"));
  fs::remove_all(folder_ / "bin");
  EXPECT_THAT(message_of<ConfigError>([&] { submit(); }), HasSubstr("was not found"));
}

TEST_F(SlurmTest, CellsThatHaveChangedAreRefused) {
  submit();
  const auto load = [&](const std::string& cell) {
    return load_prepared_cells(output_, {cell}, all_plugins());
  };
  EXPECT_THAT(message_of<ConfigError>([&] { load("nothing"); }), HasSubstr("is no cell"));
  const fs::path file = output_ / "experiments" / (name(0) + ".yaml");
  std::string config = cells_[0].config;
  config.replace(config.find("seed: 1"), 7, "seed: 8");
  write_file(file, config);
  EXPECT_THAT(message_of<DataError>([&] { load(name(0)); }), HasSubstr("submit the sweep again"));
  settle(0, "metrics.json");  // with its result there is nothing to be wrong
  EXPECT_EQ(load(name(0)).size(), 1u);
}

TEST_F(SlurmTest, ManyTasksWriteOneIndex) {
  submit();
  const std::string before = read_file(output_ / kSweepIndex);
  std::vector<std::thread> tasks;
  for (size_t i = 0; i < cells_.size(); ++i) {
    tasks.emplace_back([&, i] {
      for (const CellState state : {CellState::kFailed, CellState::kWaiting, CellState::kDone}) {
        update_sweep_index(output_, {cells_[i]}, {{output_ / name(i), state}});
      }
    });
  }
  for (std::thread& task : tasks) task.join();
  const auto index = read_json_file(output_ / kSweepIndex);
  for (const auto& cell : index["cells"]) EXPECT_EQ(cell["status"], "done");
  for (size_t i = 0; i < cells_.size(); ++i) {
    update_sweep_index(output_, {cells_[i]}, {{output_ / name(i), CellState::kWaiting}});
  }
  EXPECT_EQ(read_file(output_ / kSweepIndex), before);
}

}  // namespace
}  // namespace quell
