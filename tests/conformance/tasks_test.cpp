// The laws of tasks, on everything in the registry. A new task needs a line in examples().
#include <ATen/ops/full.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "framework/json/json.h"
#include "tests/conformance/laws.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"
#include "tests/support/temporary_folder.h"

namespace quell {
namespace {

using Entry = TaskRegistry::Entry;

// A minimal configuration of a task, and a model folder that it fits.
struct Example {
  std::string task;
  std::string params;
  std::filesystem::path model;
  bool draws = true;  // calibration depends on the seed
};

// Questions in the layout of SQuAD.
std::filesystem::path questions() {
  static const TemporaryFolder folder;
  static const std::filesystem::path file = [] {
    nlohmann::json list = nlohmann::json::array();
    for (int i = 0; i < 45; ++i) {
      list.push_back({{"id", fmt::format("q{}", i)},
                      {"question", fmt::format("what is the film number {}", i)},
                      {"answers", {{{"text", "a gripping film"}, {"answer_start", 6}}}}});
    }
    const nlohmann::json paragraph = {{"context", "it is a gripping film"}, {"qas", list}};
    const nlohmann::json article = {{"title", "films"}, {"paragraphs", {paragraph}}};
    return folder.write("questions.json", nlohmann::json{{"data", {article}}}.dump());
  }();
  return file;
}

// Items in the layout of PIQA.
std::filesystem::path choices() {
  static const TemporaryFolder folder;
  static const std::filesystem::path file = [] {
    std::string text;
    for (int i = 0; i < 45; ++i) {
      const nlohmann::json row = {{"goal", fmt::format("open door {}", i)},
                                  {"sol1", "turn the handle"},
                                  {"sol2", "sing a song"},
                                  {"label", i % 2}};
      text += row.dump() + "\n";
    }
    return folder.write("choices.jsonl", text);
  }();
  return file;
}

std::vector<Example> examples() {
  const auto quickstart = source_folder() / "experiments/quickstart";
  const auto golden = test_data() / "parity/outlier_suppression";
  const auto language = test_data() / "language";
  return {{"glue",
           fmt::format("{{name: sst2, path: {}, max_length: 64}}", (quickstart / "data").string()),
           quickstart / "model"},
          {"tokens",
           fmt::format("{{path: {}, keys: 'b{{}}.input_ids', calibration_batches: [0, 1],"
                       " evaluation_batches: [4]}}",
                       (golden / "inputs.safetensors").string()),
           golden, /*draws=*/false},
          {"squad",
           fmt::format("{{train_file: {0}, dev_file: {0}, max_length: 64, doc_stride: 16}}",
                       questions().string()),
           quickstart / "model"},
          {"summarization",
           fmt::format("{{train_file: {0}, dev_file: {0}, max_source_length: 64}}",
                       (test_data() / "summarization/articles.jsonl").string()),
           quickstart / "model"},
          {"perplexity",
           fmt::format("{{train_file: {0}, dev_file: {0}, kind: rolling, length: 64, "
                       "calibration_length: 16}}",
                       (language / "items/wikitext.txt").string()),
           language / "model"},
          {"multiple_choice",
           fmt::format("{{name: piqa, train_file: {0}, dev_file: {0}}}", choices().string()),
           language / "model"},
          {"text_generation",
           fmt::format("{{train_file: {0}, dev_file: {0}, prompt_column: document, "
                       "reference_column: summary, max_new_tokens: 4}}",
                       (test_data() / "summarization/articles.jsonl").string()),
           language / "model"}};
}

// A task with what it needs to know of its model.
struct Made {
  explicit Made(const Example& example) : config(read_json_file(example.model / "config.json")) {
    const bool language = std::filesystem::exists(example.model / "tokenizer.json");
    context.is_language_model = language;
    if (language || std::filesystem::exists(example.model / "vocab.txt")) {
      tokenizer = load_tokenizer(example.model);
    }
    context.tokenizer = tokenizer.get();
    context.model_config = &config;
    context.max_positions = config["max_position_embeddings"];
    context.vocabulary_size = config["vocab_size"];
    context.generation = GenerationOptions{};
    const Entry& entry = all_plugins().tasks.get(example.task);
    task = entry.create(read_params(entry, example.params).get(), context);
  }

  nlohmann::json config;
  std::unique_ptr<Tokenizer> tokenizer;
  TaskContext context;
  std::unique_ptr<Task> task;
};

std::vector<int64_t> all_ids(const std::vector<Batch>& batches) {
  std::vector<int64_t> ids;
  for (const Batch& batch : batches) {
    const int64_t* data = batch.token_ids.const_data_ptr<int64_t>();
    ids.insert(ids.end(), data, data + batch.tokens());
    ids.push_back(-1);  // where a batch ends matters, too
  }
  return ids;
}

CalibrationOptions few_samples() {
  CalibrationOptions options;
  options.samples = 40;
  options.batch_size = 16;
  return options;
}

Violation calibration_follows_the_seed(const Example& example) {
  const Made first(example), second(example);
  const auto ids = all_ids(first.task->calibration(few_samples(), 7));
  if (all_ids(second.task->calibration(few_samples(), 7)) != ids) return "one seed, two drawings";
  if (second.task->calibration_indices() != first.task->calibration_indices()) {
    return "one seed, two lists of indices";
  }
  if (all_ids(first.task->calibration(few_samples(), 7)) != ids) return "a second call draws anew";
  const bool same = all_ids(second.task->calibration(few_samples(), 8)) == ids;
  if (same == example.draws) return same ? "the seed does not matter" : "the seed matters";
  return "";
}

// Logits that say which batch and sequence they belong to, and texts that repeat the input.
Evaluation evaluate(Task& task, int64_t labels) {
  Predictor predictor;
  predictor.predict = [&](const Batch& batch) -> Outputs {
    at::Tensor logits = at::full({batch.sequences(), std::max<int64_t>(labels, 1)}, 0.25);
    for (int64_t i = 0; i < batch.sequences(); ++i) {
      logits[i][0] = batch.token_ids[batch.offsets[i + 1] - 2].item<int64_t>() % 7 * 0.125;
    }
    at::Tensor starts = at::full({batch.tokens()}, 0.25);
    for (int64_t i = 0; i < batch.tokens(); ++i) starts[i] = i % 5 * 0.125;
    Outputs outputs{{"logits", logits}, {"start_logits", starts}, {"end_logits", starts.clone()}};
    if (batch.scored_ids.defined()) {
      outputs["log_likelihood"] = batch.scored_ids.remainder(7).to(at::kFloat).mul_(-0.125);
    }
    return outputs;
  };
  predictor.generate = [](const Batch& batch, const GenerationOptions&) {
    std::vector<GeneratedSequence> written(batch.sequences());
    const int64_t* ids = batch.token_ids.const_data_ptr<int64_t>();
    for (int64_t i = 0; i < batch.sequences(); ++i) {
      written[i].ids.assign(ids + batch.offsets[i], ids + batch.offsets[i + 1]);
    }
    return written;
  };
  return task.evaluate(predictor, [](int64_t, int64_t) {});
}

Violation evaluation_is_repeatable(const Example& example) {
  const Made first(example), second(example);
  const auto labels =
      static_cast<int64_t>(first.config.value("id2label", nlohmann::json::object()).size());
  const Evaluation one = evaluate(*first.task, labels), two = evaluate(*second.task, labels);
  if (one.metrics != two.metrics) return "metrics differ";
  if (one.predictions.empty()) return "no predictions";
  if (one.predictions.size() != two.predictions.size()) return "numbers of predictions differ";
  for (size_t i = 0; i < one.predictions.size(); ++i) {
    const Prediction &a = one.predictions[i], &b = two.predictions[i];
    if (a.set != b.set || a.index != b.index || a.label != b.label || a.outputs != b.outputs ||
        a.id != b.id || a.text != b.text) {
      return fmt::format("prediction {} differs", i);
    }
    if (i > 0 && a.set == one.predictions[i - 1].set && a.index <= one.predictions[i - 1].index) {
      return "predictions are not in the order of the examples";
    }
  }
  return "";
}

Violation names_its_files(const Example& example) {
  const Made made(example);
  made.task->calibration(few_samples(), 1);
  if (made.task->files().empty()) return "no files";
  return first_violation(made.task->files(), [](const std::string& file) -> Violation {
    return std::filesystem::exists(file) ? "" : file + " does not exist";
  });
}

class TaskLaws : public testing::TestWithParam<std::string> {};

TEST_P(TaskLaws, Hold) {
  const Entry& entry = all_plugins().tasks.get(GetParam());
  bool found = false;
  for (const Example& example : examples()) {
    if (example.task != entry.name()) continue;
    found = true;
    const auto on = [&](Violation (*law)(const Example&)) {
      return [&example, law](const Entry&) { return law(example); };
    };
    expect_laws<Entry>(entry, {{"calibration_follows_the_seed", on(calibration_follows_the_seed)},
                               {"evaluation_is_repeatable", on(evaluation_is_repeatable)},
                               {"names_its_files", on(names_its_files)}});
  }
  EXPECT_TRUE(found) << "task " << entry.name() << " has no minimal configuration in examples()";
}

INSTANTIATE_TEST_SUITE_P(Registry, TaskLaws, testing::ValuesIn(all_plugins().tasks.names()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace quell
