#include "tasks/data/squad_score.h"

#include <fmt/format.h>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "framework/base/error.h"
#include "framework/io/rows.h"
#include "framework/json/json.h"
#include "tasks/data/squad_logits.h"
#include "tasks/data/squad_metrics.h"
#include "tasks/data/stored_predictions.h"

namespace quell {
namespace {

using nlohmann::json;

struct StoredAnswer {
  std::string text;
  std::optional<double> no_answer;  // how much speaks for "no answer"
};
using Answers = std::map<std::string, StoredAnswer>;

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

Answers read_official(const std::filesystem::path& file) {
  Answers answers;
  const json root = read_object(file, "answers");
  for (const auto& [id, answer] : root.items()) {
    if (!answer.is_string()) {
      fail(file.string(),
           fmt::format("\"{}\": expected the text of an answer, found {}", id, answer.type_name()));
    }
    answers.emplace(id, StoredAnswer{answer.get<std::string>(), {}});
  }
  return answers;
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

// The third key of Hugging Face's metric squad_v2.
std::optional<double> no_answer_of(const json& line, const std::string& place) {
  const auto found = line.find("no_answer_probability");
  if (found == line.end()) return std::nullopt;
  if (found->is_number()) return found->get<double>();
  fail(place,
       fmt::format("\"no_answer_probability\": expected a number, found {}", found->type_name()));
}

Answers read_lines(const ScoreOptions& options, TableFormat format) {
  Answers answers;
  std::optional<bool> has_probabilities;
  read_rows(options.predictions, format, "", [&](const TableRow& row) {
    const json& line = row.value;
    const bool has_id = line.is_object() && line.contains("id") &&
                        (line["id"].is_string() || line["id"].is_number_integer());
    if (!has_id) fail(row.place, "expected an object with the \"id\" of a question");
    const std::string id =
        line["id"].is_string() ? line["id"].get<std::string>() : line["id"].dump();
    StoredAnswer answer{text_of(line, row.place, options.stage), no_answer_of(line, row.place)};
    const bool has_one = answer.no_answer.has_value();
    if (has_probabilities.value_or(has_one) != has_one) {
      fail(row.place,
           fmt::format("{} \"no_answer_probability\", unlike the answers before it; give "
                       "it for all or for none",
                       has_one ? "has a" : "has no"));
    }
    has_probabilities = has_one;
    if (!answers.emplace(id, std::move(answer)).second) {
      fail(row.place, fmt::format("the id \"{}\" appears twice", id));
    }
  });
  if (!answers.empty()) return answers;
  fail(options.predictions.string(),
       "holds no answers; expected an object from ids to answers, or rows with an \"id\" and a "
       "\"prediction_text\"");
}

std::vector<GivenAnswer> match(const SquadData& data, const Answers& stored,
                               const ScoreOptions& options) {
  std::vector<GivenAnswer> answers;
  bool any = false;
  for (const SquadExample& example : data.examples) {
    GivenAnswer& answer = answers.emplace_back();
    const auto found = stored.find(example.id);
    if (found == stored.end()) continue;
    any = true;
    answer.text = answer.best_text = found->second.text;
    if (!found->second.no_answer) continue;
    answer.no_answer = *found->second.no_answer;
    if (answer.no_answer > options.no_answer_threshold) answer.text = "";
  }
  if (any) return answers;
  fail(options.predictions.string(),
       fmt::format("holds no answer to any question of {}; do the two files belong together?",
                   data.file.string()));
}

// Throws ConfigError where "no_answer_probability" of the answers cannot be used.
void check_probabilities(const Answers& stored, const SquadAnswerOptions& answer_options,
                         const ScoreOptions& options) {
  if (stored.empty() || !stored.begin()->second.no_answer) return;
  const std::string file = options.predictions.string();
  if (answer_options.version == SquadVersion::kV1) {
    throw ConfigError(fmt::format(
        "{}: \"no_answer_probability\" belongs to SQuAD v2.0: add --set version_2=true", file));
  }
  if (!options.no_answer_file.empty()) {
    throw ConfigError(fmt::format(
        "{}: the answers bring their own \"no_answer_probability\": leave out --na-prob-file",
        file));
  }
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
                    const ScoreOptions& options, const std::filesystem::path& nbest_file) {
  const std::string ending = options.predictions.extension().string();
  const bool needs_file = !options.no_answer_file.empty();
  if (needs_file && answer_options.version == SquadVersion::kV1) {
    throw ConfigError("--na-prob-file belongs to SQuAD v2.0: add --set version_2=true");
  }
  if (ending == ".safetensors") {
    if (needs_file) {
      throw ConfigError("logits bring their own scores of \"no answer\": leave out --na-prob-file");
    }
    NBestLists lists;
    const auto answers = answers_of_logits(data, answer_options, options, lists);
    if (!nbest_file.empty()) lists.write(nbest_file);
    return squad_metrics(data.examples, answers, answer_options.version);
  }
  if (!nbest_file.empty()) {
    throw ConfigError(
        "task.nbest_file: n-best lists follow from logits: score a .safetensors file");
  }
  const TableFormat format =
      ending == ".jsonl" ? TableFormat::kJsonLines : table_format(options.predictions);
  const bool rows =
      ending == ".jsonl" || format == TableFormat::kJsonList || format == TableFormat::kParquet;
  const Answers stored = rows ? read_lines(options, format) : read_official(options.predictions);
  check_probabilities(stored, answer_options, options);
  auto answers = match(data, stored, options);
  if (needs_file) use_no_answer_file(data, options, answers);
  return squad_metrics(data.examples, answers, answer_options.version);
}

}  // namespace quell
