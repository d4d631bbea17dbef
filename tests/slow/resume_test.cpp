// A run that is killed in a long step goes on with --resume, and ends in the same bytes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <chrono>
#include <thread>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/model/step_progress.h"
#include "tests/support/engine.h"
#include "tests/support/program.h"
#include "tests/support/small_experiment.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

// The whole method; each of its three long steps takes longer than progress is stored apart.
constexpr const char* kExperiment = R"(
name: resume
threads: 1
base: outlier_suppression/base.yaml
model: {path: quickstart/model}
calibration: {samples: 64}
quant:
  include: [placements/outlier_suppression.yaml, outlier_suppression/observers.yaml]
  rules:
    - {sites: "weight:*", bits: 4, observer: lsq_init, quantizer: lsq}
    - {sites: "activation:*", bits: 4, quantizer: lsq_plus}
pipeline:
  - gamma_migration
  - token_wise_clipping: {early_abandon: false}
  - learn_scales: {epochs: 8}
  - qat: {epochs: 1, samples: 96, checkpoint_every: 1}
stages: [quantized]
record: {model: false, site_errors: false}
)";

class Resume : public testing::Test {
 protected:
  std::vector<std::string> arguments(const std::string& output, const std::string& option) const {
    std::vector<std::string> result = {"run", "experiment.yaml", "--output", output, "--quiet"};
    if (!option.empty()) result.push_back(option);
    return result;
  }
  // Starts a run, and kills it once it has stored progress of the step.
  bool kill_in(const std::string& step, const std::string& option) const {
    return kill_in(step, option, folder_.path());
  }
  bool kill_in(const std::string& step, const std::string& option, const fs::path& folder) const {
    return kill_when_exists(start_quell(arguments("killed", option), folder),
                            folder / "killed/progress" / step);
  }
  // False where the program ends before.
  static bool kill_when_exists(pid_t child, const fs::path& file) {
    int status = 0;
    while (!fs::exists(file)) {
      if (::waitpid(child, &status, WNOHANG) == child) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    ::kill(child, SIGKILL);
    ::waitpid(child, &status, 0);
    return WIFSIGNALED(status);
  }
  TemporaryFolder folder_;
};

TEST_F(Resume, KilledInEveryLongStepEndsInTheSameBytes) {
  folder_.write("experiment.yaml", kExperiment);
  ASSERT_EQ(run_quell(arguments("whole", ""), folder_.path()).exit_code, 0);
  ASSERT_TRUE(kill_in("1-token_wise_clipping.safetensors", ""));
  EXPECT_FALSE(fs::exists(folder_ / "killed/metrics.json"));
  EXPECT_THAT(run_quell(arguments("killed", ""), folder_.path()).errors, HasSubstr("--resume"));
  ASSERT_TRUE(kill_in("2-learn_scales.safetensors", "--resume"));
  ASSERT_TRUE(kill_in("3-qat.safetensors", "--resume"));
  const ProgramResult resumed = run_quell(arguments("killed", "--resume"), folder_.path());
  ASSERT_EQ(resumed.exit_code, 0) << resumed.errors;
  for (const char* name :
       {"metrics.json", "predictions.jsonl", "results.h5", "config.resolved.yaml"}) {
    EXPECT_TRUE(read_file(folder_ / "whole" / name) == read_file(folder_ / "killed" / name))
        << name;
  }
  EXPECT_FALSE(fs::exists(folder_ / "killed/progress"));
  // A complete run is left as it is.
  const auto written = fs::last_write_time(folder_ / "killed/metrics.json");
  EXPECT_EQ(run_quell(arguments("killed", "--resume"), folder_.path()).exit_code, 0);
  EXPECT_EQ(fs::last_write_time(folder_ / "killed/metrics.json"), written);
}

// Weight by weight and block by block: finished ones are kept, and the one at hand.
TEST_F(Resume, KilledWhileRoundingIsLearned) {
  for (const std::string reconstruct : {"layer", "block"}) {
    SCOPED_TRACE(reconstruct);
    const TemporaryFolder folder;
    folder.write("experiment.yaml", fmt::format(R"(
name: resume
threads: 1
model: {{path: quickstart/model}}
task: {{type: glue, name: sst2, path: quickstart/data, max_length: 128, batch_size: 32}}
calibration: {{samples: 64}}
quant:
  include: placements/qualcomm.yaml
  rules:
    - {{sites: "weight:*", bits: 4, symmetric: true, observer: minmax, quantizer: adaround}}
    - {{sites: "activation:*", quantize: false}}
pipeline: [calibrate, adaround: {{iterations: {}, loss: batches, reconstruct: {}}}]
stages: [quantized]
record: {{site_errors: false}}
)",
                                                reconstruct == "layer" ? 250 : 60, reconstruct));
    ASSERT_EQ(run_quell(arguments("whole", ""), folder.path()).exit_code, 0);
    ASSERT_TRUE(kill_in("1-adaround.safetensors", "", folder.path()));
    const ProgramResult resumed = run_quell(arguments("killed", "--resume"), folder.path());
    ASSERT_EQ(resumed.exit_code, 0) << resumed.errors;
    for (const char* name : {"metrics.json", "predictions.jsonl", "results.h5"}) {
      EXPECT_TRUE(read_file(folder / "whole" / name) == read_file(folder / "killed" / name))
          << name;
    }
  }
}

// `allocate` keeps every evaluation; what it writes in the end is that of a call that nobody
// killed.
TEST_F(Resume, KilledWhileAllocationsAreMeasured) {
  folder_.write("experiment.yaml", glue_experiment(folder_));
  const auto allocate = [](const std::string& output) {
    return std::vector<std::string>{
        "allocate",     "experiment.yaml", "--choose", "bits: 2", "bits: 8", "--sites",
        "weight:*",     "--average-bits",  "5",        "--by",    "site",    "--metric",
        "output_error", "--output",        output,     "--quiet"};
  };
  const ProgramResult whole = run_quell(allocate("whole"), folder_.path());
  ASSERT_EQ(whole.exit_code, 0) << whole.errors;
  const pid_t child = start_quell(allocate("killed"), folder_.path());
  ASSERT_TRUE(kill_when_exists(child, folder_ / "killed/sensitivity.json"));
  EXPECT_FALSE(fs::exists(folder_ / "killed/allocation.json"));
  const std::string measured = read_file(folder_ / "killed/sensitivity.json");
  const ProgramResult resumed = run_quell(allocate("killed"), folder_.path());
  ASSERT_EQ(resumed.exit_code, 0) << resumed.errors;
  EXPECT_LT(measured.size(), read_file(folder_ / "killed/sensitivity.json").size());
  for (const char* name : {"allocation.json", "sensitivity.json", "experiment.yaml"}) {
    EXPECT_TRUE(read_file(folder_ / "whole" / name) == read_file(folder_ / "killed" / name))
        << name;
  }
}

TEST(ResumeFiles, OfAnotherExperimentAreRefused) {
  const TemporaryFolder folder;
  const fs::path file = folder / "progress/0-qat.safetensors";
  const at::Tensor loss = at::zeros({3});
  StepProgress(file, "name: a\nseed: 1\n").save({{"loss", loss}});
  EXPECT_TRUE(StepProgress(file, "name: a\nseed: 1\n").saved().at("loss").equal(loss));
  EXPECT_THAT(message_of<ConfigError>([&] { StepProgress(file, "name: a\nseed: 2\n"); }),
              AllOf(HasSubstr("it has: seed: 1"), HasSubstr("--overwrite")));
  write_file(file, "damaged");
  EXPECT_THROW(StepProgress(file, "name: a\n"), DataError);
}

}  // namespace
}  // namespace quell
