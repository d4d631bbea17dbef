#include "tasks/data/squad_score.h"

#include <fmt/format.h>
#include <map>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/io/json.h"
#include "tasks/data/squad_logits.h"
#include "tasks/data/squad_metrics.h"
#include "tasks/data/stored_predictions.h"

namespace quell {
namespace {

using nlohmann::json;
using Texts = std::map<std::string, std::string>;

[[noreturn]] void fail(const std::string& place, const std::string& message) {
  throw DataError(fmt::format("{}: {}", place, message));
}

// An object from ids to values.
json read_object(const std::filesystem::path& file, const char* values) {
  json root = read_json_file(file);
  if (root.is_object()) return root;
  fail(file.string(),
       fmt::format("expected an object from ids to {}, found {}", values, root.type_name()));
}

Texts read_official(const std::filesystem::path& file) {
  Texts texts;
  const json root = read_object(file, "answers");
  for (const auto& [id, answer] : root.items()) {
    if (!answer.is_string()) {
      fail(file.string(),
           fmt::format("\"{}\": expected the text of an answer, found {}", id, answer.type_name()));
    }
    texts.emplace(id, answer.get<std::string>());
  }
  return texts;
}

std::string text_of(const json& line, const std::string& place, const std::string& stage) {
  const bool of_run = line.contains("texts") && line["texts"].is_object();
  const json& holder = of_run ? line["texts"] : line;
  const std::string key = of_run ? choose_stage(holder, stage, place) : "prediction_text";
  if (!holder.contains(key) || !holder[key].is_string()) {
    fail(place, "expected \"texts\" (of a run) or \"prediction_text\" with the answer");
  }
  return holder[key].get<std::string>();
}

Texts read_lines(const ScoreOptions& options) {
  Texts texts;
  read_json_lines(options.predictions, [&](const json& line, int64_t number) {
    const std::string place = fmt::format("{}:{}", options.predictions.string(), number);
    if (!line.is_object() || !line.contains("id") || !line["id"].is_string()) {
      fail(place, "expected an object with the \"id\" of a question");
    }
    const std::string id = line["id"].get<std::string>();
    if (!texts.emplace(id, text_of(line, place, options.stage)).second) {
      fail(place, fmt::format("the id \"{}\" appears twice", id));
    }
  });
  return texts;
}

std::vector<GivenAnswer> match(const SquadData& data, const Texts& texts, const std::string& file) {
  std::vector<GivenAnswer> answers;
  bool any = false;
  for (const SquadExample& example : data.examples) {
    GivenAnswer& answer = answers.emplace_back();
    const auto found = texts.find(example.id);
    if (found == texts.end()) continue;
    any = true;
    answer.text = answer.best_text = found->second;
  }
  if (any) return answers;
  fail(file, fmt::format("holds no answer to any question of {}; do the two files belong "
                         "together?",
                         data.file.string()));
}

void use_no_answer_file(const SquadData& data, const ScoreOptions& options,
                        std::vector<GivenAnswer>& answers) {
  const std::string file = options.no_answer_file.string();
  const json values = read_object(options.no_answer_file, "numbers");
  for (size_t i = 0; i < answers.size(); ++i) {
    const auto found = values.find(data.examples[i].id);
    if (found == values.end() || !found->is_number()) {
      fail(file, fmt::format("no number for the question with id {}", data.examples[i].id));
    }
    answers[i].no_answer = found->get<double>();
    if (answers[i].text && answers[i].no_answer > options.no_answer_threshold) {
      answers[i].text = "";
    }
  }
}

}  // namespace

Metrics score_squad(const SquadData& data, const SquadAnswerOptions& answer_options,
                    const ScoreOptions& options) {
  const std::string ending = options.predictions.extension().string();
  const bool needs_file = !options.no_answer_file.empty();
  if (needs_file && answer_options.version == SquadVersion::kV1) {
    throw ConfigError("--na-prob-file belongs to SQuAD v2.0: add --set version_2=true");
  }
  if (ending == ".safetensors") {
    if (needs_file) {
      throw ConfigError("logits bring their own scores of \"no answer\": leave out --na-prob-file");
    }
    return squad_metrics(data.examples, answers_of_logits(data, answer_options, options),
                         answer_options.version);
  }
  const Texts texts = ending == ".jsonl" ? read_lines(options) : read_official(options.predictions);
  auto answers = match(data, texts, options.predictions.string());
  if (needs_file) use_no_answer_file(data, options, answers);
  return squad_metrics(data.examples, answers, answer_options.version);
}

}  // namespace quell
