// predictions.jsonl of a run, example by example.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace quell {

using ExampleKey = std::pair<std::string, int64_t>;  // set, row of the data file

struct ExamplePrediction {
  std::optional<double> label;
  std::vector<double> logits;       // or log-likelihoods of choices; empty where there are none
  std::optional<std::string> text;  // the answer or the summary

  // The class of the largest logit; none for a regression or a text.
  std::optional<int64_t> predicted_class() const;
  // 1 where the class is the label, else 0; none without label or class.
  std::optional<double> correct() const;
};

// What the run predicted at a stage. Throws DataError.
std::map<ExampleKey, ExamplePrediction> read_predictions(const std::filesystem::path& run,
                                                         const std::string& stage);

}  // namespace quell
