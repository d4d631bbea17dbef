// The tasks of language models against lm-evaluation-harness 0.4.13 on the same items, against the
// windows of Outlier Suppression+, and against the perplexities of trained models.
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <sstream>

#include "framework/base/file.h"
#include "framework/io/safetensors.h"
#include "framework/json/json.h"
#include "tasks/data/scored_sequences.h"
#include "tasks/data/text_windows.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"
#include "tests/support/temporary_folder.h"

namespace quell {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

fs::path data() { return test_data() / "language"; }

// The model that travels; others where they are.
fs::path folder_of(const std::string& model) {
  if (model == "model") return data() / "model";
  const char* named = std::getenv("QUELL_SMOLLM2");
  if (model == "smollm2-135m" && named != nullptr) return fs::path(named) / model;
  return shared_folder() / "models" / model;
}

struct Case {
  std::string model, rule, task;
  friend std::ostream& operator<<(std::ostream& out, const Case& one) {
    return out << one.model << " " << one.rule << " " << one.task;
  }
};

// What the harness calls own_..., as an experiment.
std::string task_of(const Case& one, const std::string& more) {
  const std::string items = (data() / "items" / one.task).string();
  const std::string common = fmt::format("bos: {}{}", one.rule, more);
  if (one.task == "wikitext") {
    return fmt::format(
        "{{type: perplexity, kind: rolling, detokenizer: wikitext, dev_file: {}.txt, {}}}", items,
        common);
  }
  std::string prompts = fmt::format("name: {}", one.task);
  if (one.task == "letters") {
    prompts = R"(context: "Question: {question}\nA. {a}\nB. {b}\nC. {c}\nAnswer:",)"
              R"( choices: [A, B, C], label: "{right}")";
  } else if (one.task == "sentences") {
    prompts = R"(choices: ["{good}", "{bad}"])";
  }
  return fmt::format("{{type: multiple_choice, {}, dev_file: {}.jsonl, {}}}", prompts, items,
                     common);
}

Experiment run(const Case& one, const std::string& engine, const std::string& more) {
  return Experiment(
      fmt::format("name: harness\nmodel: {{path: {}, engine: {}}}\ntask: {}\n"
                  "stages: [float]\npipeline: []\nthreads: 1\n",
                  folder_of(one.model).string(), engine, task_of(one, more)));
}

class Harness : public testing::TestWithParam<Case> {};

// float32 on either side: the sums of a continuation differ in the fifth digit behind the point,
// those of a page of hundreds of tokens in the seventh place.
double tolerance(double likelihood) { return std::max(1e-4, 1e-6 * std::abs(likelihood)); }

// Own data sets have no order of columns, which doc_hash follows from.
void compare(const Evaluation& found, const json& golden, bool known_columns) {
  ASSERT_EQ(found.predictions.size(), golden["samples"].size());
  for (size_t i = 0; i < found.predictions.size(); ++i) {
    const json& expected = golden["samples"][i];
    const Prediction& prediction = found.predictions[i];
    SCOPED_TRACE(fmt::format("item {}", i));
    const std::vector<float>& values = prediction.outputs.at("log_likelihood");
    ASSERT_EQ(values.size(), expected["log_likelihood"].size());
    for (size_t k = 0; k < values.size(); ++k) {
      const double likelihood = expected["log_likelihood"][k];
      EXPECT_NEAR(values[k], likelihood, tolerance(likelihood)) << "choice " << k;
    }
    if (prediction.outputs.count("greedy") > 0) {
      EXPECT_EQ(prediction.outputs.at("greedy")[0], expected["greedy"][0] ? 1 : 0);
    }
    for (const auto& [name, hash] : prediction.hashes) {
      if (known_columns || name != "doc_hash") {
        EXPECT_EQ(hash, expected[name]) << name;
      }
    }
    EXPECT_EQ(prediction.hashes.size(), 3u);
  }
  for (const auto& [name, value] : found.metrics) {
    if (!golden["metrics"].contains(name)) continue;
    // Fractions of a few items are equal; perplexities follow from sums.
    EXPECT_NEAR(value, golden["metrics"][name].get<double>(), 1e-4 * std::abs(value)) << name;
  }
}

TEST_P(Harness, EveryLikelihoodAndAnswerIsThatOfTheHarness) {
  const fs::path folder = folder_of(GetParam().model);
  if (!fs::exists(folder)) GTEST_SKIP() << "needs " << folder;
  const json golden = read_json_file(data() / "harness.json");
  const json& expected = golden["models"][GetParam().model][GetParam().rule][GetParam().task];
  const bool rolling = GetParam().task == "wikitext";
  const bool known = GetParam().task != "letters" && GetParam().task != "sentences";
  for (const char* engine : {"libtorch", "packed"}) {
    SCOPED_TRACE(engine);
    const RunRecord record = run(GetParam(), engine, "").record();
    compare(record.stages.at(0).evaluation, expected, known);
    ASSERT_FALSE(record.task_protocol.empty());
    EXPECT_EQ(record.task_protocol[0].second, "lm-evaluation-harness 0.4.13");
    if (rolling) continue;
    const RunRecord alone = run(GetParam(), engine, ", share_contexts: false").record();
    compare(alone.stages.at(0).evaluation, expected, known);
    if (std::string(engine) != "packed") continue;
    // A value of these kernels does not depend on the rows that are computed with it.
    for (size_t i = 0; i < alone.stages[0].evaluation.predictions.size(); ++i) {
      EXPECT_EQ(alone.stages[0].evaluation.predictions[i].outputs,
                record.stages[0].evaluation.predictions[i].outputs);
    }
  }
}

std::vector<Case> cases() {
  std::vector<Case> result;
  const json golden = read_json_file(data() / "harness.json");
  for (const auto& [model, rules] : golden["models"].items()) {
    for (const auto& [rule, tasks] : rules.items()) {
      for (const auto& [task, ignored] : tasks.items()) result.push_back({model, rule, task});
    }
  }
  return result;
}

INSTANTIATE_TEST_SUITE_P(Models, Harness, testing::ValuesIn(cases()), [](const auto& test) {
  std::string name = test.param.model + "_" + test.param.rule + "_" + test.param.task;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

class OutlierSuppressionPlusWindows : public testing::TestWithParam<const char*> {};

// Three windows of 40 of a stream of 137 tokens.
TEST_P(OutlierSuppressionPlusWindows, WindowsHaveTheLossesOfThePublishedCode) {
  const fs::path folder = shared_folder() / "goldens/outlier_suppression_plus" / GetParam();
  if (!fs::exists(folder)) GTEST_SKIP() << "needs " << folder;
  const std::string file = std::string(GetParam()) == "llama_s0" ? "run_int6_token" : "run_int8";
  const json golden = read_json_file(folder / (file + ".json"))["perplexity"];
  const at::Tensor stream =
      SafetensorsFile(folder / "inputs.safetensors").read("ppl_stream").to(at::kLong).contiguous();
  const auto windows =
      disjoint_windows({stream.const_data_ptr<int64_t>(), static_cast<size_t>(stream.numel())},
                       golden["max_length"]);
  ASSERT_EQ(std::ssize(windows), golden["n_windows"]);
  const std::vector<int64_t> alone(windows.size(), 1);
  QuantizedNetwork network(folder, "{rules: []}");
  const Predictor predictor{[&](const Batch& batch) {
    const at::NoGradGuard no_gradients;
    return network.model().forward(batch, network.pass());
  }};
  const auto scores = score_sequences(scoring_batches(windows, alone, {.batch_size = 2}),
                                      std::ssize(windows), predictor, [](int64_t) {});
  double sum = 0;
  for (size_t i = 0; i < windows.size(); ++i) {
    const double loss = -scores[i].log_likelihood / static_cast<double>(windows[i].targets());
    EXPECT_NEAR(loss, golden["fp_window_loss"][i].get<double>(), 3e-6) << i;  // float32
    sum += loss;
  }
  const double perplexity = std::exp(sum / static_cast<double>(windows.size()));
  EXPECT_NEAR(perplexity, golden["fp_ppl"].get<double>(), 5e-6 * perplexity);
}

INSTANTIATE_TEST_SUITE_P(Families, OutlierSuppressionPlusWindows,
                         testing::Values("opt_s0", "llama_s0", "bloom_s0"));

class TrainedModels : public testing::TestWithParam<const char*> {};

// The last quarter of WikiText-2 test, from a heading on: 54,691 words.
std::string held_out(const fs::path& file) {
  const std::string text = read_file(file);
  const auto words = [](const std::string& part) {
    std::istringstream stream(part);
    std::string word;
    int64_t count = 0;
    while (stream >> word) ++count;
    return count;
  };
  for (size_t at = text.size() / 2; (at = text.find("\n = ", at)) != std::string::npos; ++at) {
    std::string rest = text.substr(at + 1);
    if (words(rest) == 54691) return rest;
  }
  return "";
}

TEST_P(TrainedModels, HaveThePerplexityThatTheirReadmeSays) {
  const fs::path folder = shared_folder() / "models" / GetParam();
  const fs::path text = shared_folder() / "data/lm/wikitext-2/test.txt";
  if (!fs::exists(folder) || !fs::exists(text)) GTEST_SKIP() << "needs " << folder;
  const TemporaryFolder temporary;
  const fs::path file = temporary.write("text.txt", held_out(text));
  const bool bloom = std::string(GetParam()) == "tiny-bloom";  // has no start token
  const Experiment found(fmt::format(
      "name: trained\nmodel: {{path: {}}}\ntask: {{type: perplexity, dev_file: {}, unit: whole, "
      "length: 256, bos_in_every_window: {}}}\nstages: [float]\npipeline: []\nthreads: 1\n",
      folder.string(), file.string(), !bloom));
  const json golden = read_json_file(folder / "results.json")["ppl"];
  EXPECT_EQ(std::ssize(found.record().stages[0].evaluation.predictions) * 255, golden["targets"]);
  const double expected = golden["ppl"];
  EXPECT_NEAR(found.metric(Stage::kFloat, "perplexity"), expected, 1e-5 * expected);
}

INSTANTIATE_TEST_SUITE_P(Tiny, TrainedModels,
                         testing::Values("tiny-opt", "tiny-llama", "tiny-bloom"));

}  // namespace
}  // namespace quell
