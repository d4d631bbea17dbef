#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/cli/print.h"
#include "framework/cli/verb.h"
#include "framework/config/load.h"
#include "framework/plugin/choice.h"
#include "framework/task/task.h"

namespace quell {
namespace po = boost::program_options;
namespace {

struct TaskOptions {
  TaskChoice task;
  template <class V>
  static void describe(V& v) {
    v("task", &TaskOptions::task, "the task", required());
  }
};

// The task plug-in named on the command line, with parameters from --set.
TaskChoice choose_task(const std::string& name, const std::vector<std::string>& settings,
                       const Plugins& plugins) {
  Problems problems;
  ReadContext context{problems, &plugins};
  ConfigNode root = ConfigNode::map();
  root.mark.file = "--set";
  ConfigNode& task = root.set("task", ConfigNode::map());
  task.mark = root.mark;
  task.set("type", ConfigNode::scalar(name));
  for (const std::string& setting : settings) {
    apply_override(root, "task." + setting, schema_of<TaskOptions>(), problems);
  }
  TaskOptions options = read_config<TaskOptions>(root, context);
  problems.throw_if_any();
  return options.task;
}

}  // namespace

int run_score(const Plugins& plugins, const Arguments& arguments) {
  CommandLine line(
      "score TASK --predictions FILE --data FILE [--set name=cola] [options]",
      "Computes a task's metrics from predictions: predictions.jsonl of a run, JSON "
      "lines with\n\"logits\" or \"prediction\", the TSV of a GLUE submission, the JSON of a "
      "SQuAD\nsubmission, or start and end logits (safetensors).");
  line.add()("predictions", po::value<std::string>(), "file of predictions")(
      "data", po::value<std::string>(), "file of examples with labels")(
      "set", po::value<std::vector<std::string>>()->composing(),
      "parameter of the task, name=cola")("stage", po::value<std::string>()->default_value(""),
                                          "stage of a run's predictions")(
      "split", po::value<std::string>()->default_value(""),
      "set of a run's predictions, such as dev")(
      "labels", po::value<std::vector<std::string>>()->multitoken(),
      "names of the model's classes, in its order")(
      "na-prob-file", po::value<std::string>()->default_value(""),
      "SQuAD v2.0: JSON object from ids to numbers that speak for \"no answer\"")(
      "na-prob-thresh", po::value<double>()->default_value(1.0),
      "SQuAD v2.0: larger numbers mean \"no answer\"")("json", "print JSON");
  line.positional("task", 1);
  if (!line.parse(arguments)) return 0;
  const auto names = line.list("task");
  if (names.empty() || !line.has("predictions") || !line.has("data")) {
    throw ConfigError(
        "score needs a task, --predictions and --data, such as `quell score glue --set "
        "name=cola --predictions runs/x/predictions.jsonl --data dev.tsv`");
  }
  ScoreOptions options;
  options.predictions = line.get<std::string>("predictions");
  options.data = line.get<std::string>("data");
  options.stage = line.get<std::string>("stage");
  options.set = line.get<std::string>("split");
  options.labels = line.list("labels");
  options.no_answer_file = line.get<std::string>("na-prob-file");
  options.no_answer_threshold = line.get<double>("na-prob-thresh");
  const TaskContext without_model;
  const auto task = choose_task(names[0], line.list("set"), plugins).create(without_model);
  const Metrics metrics = task->score(options);
  if (line.has("json")) {
    nlohmann::ordered_json json;
    for (const auto& [name, value] : metrics) json[name] = value;  // NaN prints as null
    print_json(json);
    return 0;
  }
  std::vector<std::vector<std::string>> rows = {{"metric", "value"}};
  for (const auto& [name, value] : metrics) rows.push_back({name, fmt::format("{:.6f}", value)});
  fmt::print("{}", text_table(rows));
  return 0;
}

}  // namespace quell
