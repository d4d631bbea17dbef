// The best answers to every question.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "framework/task/task.h"
#include "tasks/data/squad_answers.h"

namespace quell {

// The candidates with "score", "start_logit", "end_logit" and "probability".
std::vector<RankedText> ranked_texts(const SquadAnswer& answer);

// What utils_qa.py of Hugging Face writes as nbest_predictions.json: for each question's id the
// candidates, best first, each with score, start_logit, end_logit, text and probability.
class NBestLists {
 public:
  void add(const std::string& id, const SquadAnswer& answer);
  // Throws Error where the file cannot be written.
  void write(const std::filesystem::path& file) const;

 private:
  nlohmann::ordered_json lists_ = nlohmann::ordered_json::object();
};

}  // namespace quell
