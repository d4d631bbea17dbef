#include "tasks/data/stored_predictions.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>

#include "framework/base/error.h"
#include "framework/base/suggest.h"
#include "framework/io/table.h"
#include "framework/json/json.h"

namespace quell {
namespace {

using nlohmann::json;

[[noreturn]] void fail(const std::string& place, const std::string& message) {
  throw DataError(fmt::format("{}: {}", place, message));
}

std::vector<float> parse_logits(const json& value, const std::string& place) {
  const bool numbers =
      value.is_array() && !value.empty() &&
      std::all_of(value.begin(), value.end(), [](const json& v) { return v.is_number(); });
  if (!numbers) fail(place, "\"logits\" must be a list of numbers");
  return value.get<std::vector<float>>();
}

std::string parse_prediction(const json& value, const std::string& place) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_number()) fail(place, "\"prediction\" must be a label name or a number");
  return value.dump();
}

int64_t parse_index(const json& value, const std::string& place) {
  if (!value.is_number_integer() || value.get<int64_t>() < 0) {
    fail(place, "\"index\" must be a row number, counted from 0");
  }
  return value.get<int64_t>();
}

StoredPrediction parse_line(const json& value, const std::string& place, const std::string& stage) {
  StoredPrediction result;
  if (value.contains("index")) result.index = parse_index(value["index"], place);
  if (value.contains("label") && value["label"].is_number()) result.label = value["label"];
  if (value.contains("outputs") && value["outputs"].is_object()) {
    const json& outputs = value["outputs"];
    const json& chosen = outputs[choose_stage(outputs, stage, place)];
    if (!chosen.is_object() || !chosen.contains("logits"))
      fail(place, "the stage has no \"logits\"");
    result.logits = parse_logits(chosen["logits"], place);
  } else if (value.contains("logits")) {
    result.logits = parse_logits(value["logits"], place);
  } else if (value.contains("prediction")) {
    result.prediction = parse_prediction(value["prediction"], place);
  } else {
    fail(place, "expected \"outputs\" (of a run), \"logits\" or \"prediction\"");
  }
  return result;
}

StoredPredictions read_json_predictions(const ScoreOptions& options) {
  const std::string file = options.predictions.string();
  StoredPredictions result;
  std::vector<std::string> sets;
  read_json_lines(options.predictions, [&](const json& value, int64_t line) {
    const std::string place = fmt::format("{}:{}", file, line);
    if (!value.is_object()) fail(place, "expected a JSON object");
    const std::string set = value.contains("set") && value["set"].is_string()
                                ? value["set"].get<std::string>()
                                : std::string();
    if (std::find(sets.begin(), sets.end(), set) == sets.end()) sets.push_back(set);
    if (!options.set.empty() && set != options.set) return;
    result.lines.push_back(parse_line(value, place, options.stage));
    result.lines.back().line = line;
    result.set = set;
  });
  if (!options.set.empty() && result.lines.empty()) {
    throw ConfigError(
        fmt::format("{}: no set \"{}\"{}", file, options.set, did_you_mean(options.set, sets)));
  }
  if (options.set.empty() && sets.size() > 1) {
    throw ConfigError(
        fmt::format("{}: several sets ({}); choose the one of the data file with --split", file,
                    fmt::join(sets, ", ")));
  }
  return result;
}

StoredPredictions read_submission(const ScoreOptions& options) {
  const std::string file = options.predictions.string();
  StoredPredictions result;
  std::vector<std::string> columns;
  read_tsv(options.predictions, [&](int64_t line, std::span<const std::string_view> fields) {
    const std::string place = fmt::format("{}:{}", file, line);
    if (columns.empty()) {
      columns.assign(fields.begin(), fields.end());
      if (columns != std::vector<std::string>{"index", "prediction"}) {
        fail(place,
             fmt::format("columns {}; expected index, prediction", fmt::join(columns, ", ")));
      }
      return;
    }
    if (fields.size() != 2) {
      fail(place, fmt::format("{} fields, expected 2 (index, prediction)", fields.size()));
    }
    const json index = json::parse(fields[0], nullptr, /*allow_exceptions=*/false);
    StoredPrediction prediction{line, parse_index(index, place), {}, {}, std::string(fields[1])};
    result.lines.push_back(std::move(prediction));
  });
  return result;
}

}  // namespace

std::string choose_stage(const json& outputs, const std::string& wanted, const std::string& place) {
  std::vector<std::string> stages;
  for (const auto& entry : outputs.items()) stages.push_back(entry.key());
  if (!wanted.empty()) {
    if (outputs.contains(wanted)) return wanted;
    throw ConfigError(
        fmt::format("{}: no stage \"{}\"{}", place, wanted, did_you_mean(wanted, stages)));
  }
  if (outputs.contains("quantized")) return "quantized";
  if (stages.size() == 1) return stages.front();
  throw ConfigError(fmt::format("{}: several stages ({}); choose one with --stage", place,
                                fmt::join(stages, ", ")));
}

StoredPredictions read_predictions(const ScoreOptions& options) {
  StoredPredictions result =
      is_jsonl(options.predictions) ? read_json_predictions(options) : read_submission(options);
  if (result.lines.empty()) {
    throw DataError(fmt::format("{}: holds no predictions", options.predictions.string()));
  }
  return result;
}

}  // namespace quell
