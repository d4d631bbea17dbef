// Every experiment that comes with quell says something that can be run.
#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "framework/base/file.h"
#include "framework/config/load.h"
#include "framework/io/hdf5_reader.h"
#include "framework/json/json.h"
#include "tests/support/compare.h"
#include "tests/support/small_experiment.h"

namespace quell {
namespace {

namespace fs = std::filesystem;

// Files that are parts of others have no name.
bool is_experiment(const fs::path& file) {
  Problems problems;
  return load_yaml(file, problems).find("name") != nullptr;
}

std::vector<fs::path> experiments() {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(source_folder() / "experiments")) {
    if (entry.path().extension() == ".yaml" && is_experiment(entry.path())) {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

// The sites of a model of the kind that an experiment is for: the quick start's classifier, the
// same with a head for questions, a BART that writes, or a LLaMA.
std::vector<Site> sites_for(const std::string& folder) {
  const bool writes = folder == "summarization", predicts = folder == "language";
  Checkpoint checkpoint(writes     ? test_data() / "parity/outlier_suppression_bart_gen"
                        : predicts ? test_data() / "language/model"
                                   : quickstart() / "model");
  if (folder == "squad") checkpoint.start_head({"ForQuestionAnswering", "qa_outputs.", 0});
  const std::string type = writes ? "bart" : predicts ? "llama" : "bert";
  return ModelChoice(all_plugins().models, type).create(checkpoint)->sites();
}

TEST(Experiments, LoadAndFitTheModel) {
  const fs::path model = quickstart() / "model";
  std::set<std::string> names;
  std::map<std::string, std::vector<Site>> sites;  // by the folder of the experiment
  for (const fs::path& file : experiments()) {
    SCOPED_TRACE(file.string());
    const ExperimentSpec spec = load_experiment(
        file, {"model.path=" + model.string(), "task.path=" + (quickstart() / "data").string()},
        all_plugins());
    EXPECT_TRUE(names.insert(spec.name).second) << spec.name << " names two run folders";
    Problems problems;
    const std::string folder = file.parent_path().filename().string();
    if (sites.count(folder) == 0) sites[folder] = sites_for(folder);
    const auto plan = plan_sites(sites[folder], spec.quant.rules, all_plugins(), problems);
    EXPECT_TRUE(problems.empty()) << testing::PrintToString(problems.lines());
    if (file.filename() == "finetune.yaml") continue;  // in float
    EXPECT_TRUE(
        std::any_of(plan.begin(), plan.end(), [](const auto& site) { return site.quantize; }));
  }
  // Quick start 3; Outlier Suppression 7 methods, 8 tasks of GLUE, 2 of SQuAD, 4 of summarization;
  // SQuAD 3; Qualcomm 13; Outlier Suppression+ 5; language models 3.
  EXPECT_GE(names.size(), 48u);
}

// The files by method need nothing but a fresh clone.
TEST(Experiments, MethodsLoadWithoutSettings) {
  for (const char* name :
       {"minmax", "mse", "quantile", "twc", "twc_fine", "twc_fine_gamma", "qat_w4a4"}) {
    const auto file =
        source_folder() / "experiments/outlier_suppression" / (std::string(name) + ".yaml");
    EXPECT_NO_THROW(load_experiment(file, {}, all_plugins())) << name;
  }
  for (const char* folder : {"experiments/qualcomm", "experiments/outlier_suppression_plus"}) {
    for (const auto& file : fs::directory_iterator(source_folder() / folder)) {
      if (file.path().extension() != ".yaml" || file.path().stem() == "base") continue;
      EXPECT_NO_THROW(load_experiment(file.path(), {}, all_plugins())) << file.path();
    }
  }
}

// The first `count` sentences of a split of the quick start.
std::string sentences(const std::string& split, size_t count) {
  std::istringstream lines(read_file(quickstart() / "data" / (split + ".tsv")));
  std::string text, line;
  for (size_t i = 0; i <= count && std::getline(lines, line); ++i) text += line + "\n";
  return text;
}

// Forty sentences of the trained model at 6 bits: a method that is broken shows.
TEST(Experiments, MethodsRunOnTheQuickStart) {
  const TemporaryFolder folder;
  for (const char* split : {"train", "dev"}) {
    folder.write(std::string("data/") + split + ".tsv", sentences(split, 40));
  }
  for (const std::string name : {"minmax", "twc"}) {
    const auto file = source_folder() / "experiments/outlier_suppression" / (name + ".yaml");
    const ProgramResult result =
        run_quell({"run", file.string(), "--set", "task.path=" + (folder / "data").string(),
                   "--set", "calibration.samples=40", "--output", name, "--quiet"},
                  folder.path());
    ASSERT_EQ(result.exit_code, 0) << name << result.errors;
    const auto stages = read_json_file(folder / name / "metrics.json")["stages"];
    const double plain = stages["float"]["accuracy"], quantized = stages["quantized"]["accuracy"];
    EXPECT_GE(plain, 0.7) << name;  // 83.94 % on all sentences
    EXPECT_NEAR(quantized, plain, 0.15) << name;
    const Hdf5Reader results(folder / name / "results.h5");
    const at::Tensor logits = results.read_tensor("outputs/float/dev/logits"),
                     noisy = results.read_tensor("outputs/quantized/dev/logits");
    EXPECT_EQ(logits.size(0), 40) << name;
    EXPECT_FALSE(equal_bits(logits, noisy)) << name;
    EXPECT_LT(max_difference(noisy, logits), 6) << name;
  }
}

}  // namespace
}  // namespace quell
