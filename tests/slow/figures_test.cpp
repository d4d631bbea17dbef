// The accuracies that README.md and CONTRIBUTING.md print, and the observer that the latter writes
// (CMake takes its code from the page).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "framework/base/file.h"
#include "framework/json/json.h"
#include "tests/support/small_experiment.h"

namespace quell {

void register_observer_percentile(Plugins& plugins);

namespace {

namespace fs = std::filesystem;

std::string page(const char* name) { return read_file(source_folder() / name); }

// On processors whose matrix products round as those of the goldens the figures are exact; one
// sentence is 0.11 points, and on others a few may turn, most at 4 bits.
double tolerance() { return rounds_as_published() ? 0.0051 : 1.5; }

// The numbers in the lines of a page that begin with `start`, without those of the start.
std::vector<double> numbers_behind(const std::string& text, const std::string& start) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(start)) continue;
    std::istringstream words(line.substr(start.size()));
    std::vector<double> numbers;
    for (std::string word; words >> word;) {
      if (std::isdigit(static_cast<unsigned char>(word[0])) != 0)
        numbers.push_back(std::stod(word));
    }
    return numbers;
  }
  ADD_FAILURE() << "no line begins with \"" << start << '"';
  return {};
}

// Accuracies in percent by stage, and the ratio of sizes behind them.
std::vector<double> run(const fs::path& experiment, const TemporaryFolder& folder) {
  const ProgramResult result =
      run_quell({"run", experiment.string(), "--output", "out", "--overwrite", "--json", "--quiet"},
                folder.path());
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  const auto summary = nlohmann::ordered_json::parse(result.output)["runs"][0];
  std::vector<double> numbers;
  for (const auto& [stage, metrics] : summary["stages"].items()) {
    numbers.push_back(100 * metrics["accuracy"].get<double>());
  }
  numbers.push_back(summary["size_ratio"]);
  return numbers;
}

void expect_figures(const std::vector<double>& found, const std::vector<double>& printed,
                    const std::string& name) {
  ASSERT_EQ(found.size(), printed.size()) << name;
  static const double allowed = tolerance();
  for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], printed[i], allowed) << name;
}

TEST(Figures, OfTheQuickStart) {
  const std::string readme = page("README.md");
  const TemporaryFolder folder;
  for (const char* name : {"w8a8", "w6a6", "w4a4", "outliers"}) {
    const std::string experiment = fmt::format("quickstart-{}", name);
    expect_figures(run(quickstart() / (std::string(name) + ".yaml"), folder),
                   numbers_behind(readme, experiment + " "), experiment);
  }
}

TEST(Figures, OfTheExperimentInTheReadme) {
  const std::string readme = page("README.md");
  const size_t name = readme.find("name: w4a4-outliers-at-8");
  ASSERT_NE(name, std::string::npos);
  const TemporaryFolder folder;
  const auto file =
      folder.write("outliers_at_8.yaml", readme.substr(name, readme.find("```", name) - name));
  expect_figures(run(file, folder), numbers_behind(readme, "w4a4-outliers-at-8 "),
                 "w4a4-outliers-at-8");
}

TEST(Figures, OfTheObserverThatContributingWrites) {
  Plugins plugins;
  register_all_plugins(plugins);
  register_observer_percentile(plugins);
  const std::string contributing = page("CONTRIBUTING.md");
  for (const auto& [row, observer] :
       {std::pair("| `avg_minmax` | ", "avg_minmax"),
        std::pair("| `percentile`, 99.9 | ", "percentile"),
        std::pair("| `percentile`, 99 | ", "{type: percentile, percentile: 99}")}) {
    Log log(Verbosity::kQuiet);
    const ExperimentSpec spec = load_experiment(quickstart() / "w4a4.yaml",
                                                {fmt::format("rules[1].observer={}", observer),
                                                 "stages=[quantized]", "record.site_errors=false"},
                                                plugins);
    const RunRecord record = run_experiment(load_bench(spec, plugins, log), log);
    const double accuracy = 100 * record.stages.at(0).evaluation.metrics.at(0).second;
    expect_figures({accuracy}, numbers_behind(contributing, row), observer);
  }
}

}  // namespace
}  // namespace quell
