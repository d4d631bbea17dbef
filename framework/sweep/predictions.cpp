#include "framework/sweep/predictions.h"

#include <fmt/format.h>
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/json/json.h"

namespace quell {

std::optional<int64_t> ExamplePrediction::predicted_class() const {
  if (logits.size() < 2) return {};
  return std::max_element(logits.begin(), logits.end()) - logits.begin();
}

std::optional<double> ExamplePrediction::correct() const {
  const auto found = predicted_class();
  if (!found || !label) return {};
  return static_cast<double>(*found) == *label ? 1.0 : 0.0;
}

std::map<ExampleKey, ExamplePrediction> read_predictions(const std::filesystem::path& run,
                                                         const std::string& stage) {
  const std::filesystem::path file = run / "predictions.jsonl";
  std::map<ExampleKey, ExamplePrediction> result;
  read_json_lines(file, [&](const nlohmann::json& line, int64_t number) {
    try {
      ExamplePrediction example;
      if (line.contains("label")) example.label = line.at("label").get<double>();
      const auto& outputs = line.at("outputs");
      if (!outputs.contains(stage)) return;
      for (const char* name : {"logits", "log_likelihood"}) {
        const auto logits = outputs.at(stage).find(name);
        if (logits == outputs.at(stage).end()) continue;
        for (const auto& value : *logits) {
          example.logits.push_back(value.is_null() ? std::nan("") : value.get<double>());
        }
      }
      if (line.contains("texts")) example.text = line.at("texts").at(stage).get<std::string>();
      result[{line.at("set"), line.at("index")}] = std::move(example);
    } catch (const nlohmann::json::exception& error) {
      throw DataError(fmt::format("{}:{}: is no line of a run's predictions: {}", file.string(),
                                  number, error.what()));
    }
  });
  return result;
}

}  // namespace quell
