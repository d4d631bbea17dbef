#include "tasks/data/summary_score.h"

#include <fmt/format.h>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "framework/base/error.h"
#include "framework/io/table.h"
#include "framework/io/text.h"
#include "framework/json/json.h"
#include "framework/text/sentences.h"
#include "tasks/data/stored_predictions.h"
#include "tasks/metrics/rouge.h"

namespace quell {
namespace {

using nlohmann::json;

struct StoredSummary {
  std::string place;  // file:line
  std::string text;
  std::optional<int64_t> index;
  std::string id;
};

StoredSummary parse_line(const json& line, const std::string& place, const std::string& stage) {
  if (!line.is_object()) throw DataError(place + ": expected a JSON object");
  StoredSummary result{place, {}, {}, {}};
  const bool of_run = line.contains("texts") && line["texts"].is_object();
  const json& holder = of_run ? line["texts"] : line;
  const std::string key = of_run                        ? choose_stage(holder, stage, place)
                          : line.contains("prediction") ? "prediction"
                                                        : "summary";
  if (!holder.contains(key) || !holder[key].is_string()) {
    throw DataError(place +
                    ": expected a text \"prediction\" or \"summary\", or the \"texts\" of a run");
  }
  result.text = holder[key].get<std::string>();
  if (line.contains("index") && line["index"].is_number_integer()) result.index = line["index"];
  if (line.contains("id")) {
    result.id = line["id"].is_string() ? line["id"].get<std::string>() : line["id"].dump();
  }
  return result;
}

std::vector<StoredSummary> read_json_summaries(const ScoreOptions& options) {
  std::vector<StoredSummary> result;
  read_json_lines(options.predictions, [&](const json& line, int64_t number) {
    const std::string place = fmt::format("{}:{}", options.predictions.string(), number);
    result.push_back(parse_line(line, place, options.stage));
  });
  return result;
}

// An empty line is an empty summary.
std::vector<StoredSummary> read_text_summaries(const std::filesystem::path& file) {
  const std::string content = read_text(file);
  std::vector<StoredSummary> result;
  for (size_t start = 0; start < content.size();) {
    const size_t end = std::min(content.find('\n', start), content.size());
    result.push_back({fmt::format("{}:{}", file.string(), result.size() + 1),
                      content.substr(start, end - start),
                      {},
                      {}});
    start = end + 1;
  }
  return result;
}

// Finds the example of each line, and each only once.
class Matching {
 public:
  Matching(const SummaryData& data) : data_(data) {
    for (size_t i = 0; i < data.examples.size(); ++i) {
      by_index_.emplace(data.examples[i].index, i);
      if (!data.examples[i].id.empty()) by_id_.emplace(data.examples[i].id, i);
    }
  }

  size_t position_of(const StoredSummary& line, size_t number) {
    const size_t position = find(line, number);
    if (!used_.emplace(position, line.place).second) {
      throw DataError(fmt::format("{}: a second summary of the example at row {}, after {}",
                                  line.place, data_.examples[position].index, used_.at(position)));
    }
    return position;
  }

  // Rows that a run leaves out need no summary.
  void check_complete(const std::string& file) const {
    std::vector<int64_t> missing;
    for (size_t i = 0; i < data_.examples.size(); ++i) {
      const SummaryExample& example = data_.examples[i];
      if (used_.count(i) == 0 && !example.incomplete) missing.push_back(example.index);
    }
    if (missing.empty()) return;
    throw DataError(fmt::format(
        "{}: {} of the {} examples of {} have no summary, first row {}; where the predictions are "
        "of a part of the file, say which: --set dev_rows=900-999",
        file, missing.size(), data_.examples.size(), data_.file.string(), missing.front()));
  }

 private:
  size_t find(const StoredSummary& line, size_t number) const {
    if (line.index) {
      const auto found = by_index_.find(*line.index);
      if (found != by_index_.end()) return found->second;
      throw DataError(fmt::format("{}: index {} is no example of {}", line.place, *line.index,
                                  data_.file.string()));
    }
    if (!line.id.empty() && !by_id_.empty()) {
      const auto count = by_id_.count(line.id);
      if (count == 1) return by_id_.find(line.id)->second;
      throw DataError(fmt::format("{}: the id \"{}\" {} {}", line.place, line.id,
                                  count == 0 ? "is no example of" : "appears more than once in",
                                  data_.file.string()));
    }
    if (number < data_.examples.size()) return number;
    throw DataError(fmt::format("{}: more summaries than the {} examples of {}", line.place,
                                data_.examples.size(), data_.file.string()));
  }

  const SummaryData& data_;
  std::map<int64_t, size_t> by_index_;
  std::multimap<std::string, size_t> by_id_;
  std::map<size_t, std::string> used_;  // position of an example -> its line
};

}  // namespace

Metrics summary_metrics(const std::vector<std::string>& predictions,
                        const std::vector<std::string>& references, const SummaryScoring& scoring) {
  QUELL_ASSERT(predictions.size() == references.size(), "one prediction per reference");
  SentenceSplitter splitter;
  const auto sentences = [&](const std::string& text) {
    return scoring.split_sentences ? splitter.lines(text) : text;
  };
  std::vector<RougeScores> scores;
  for (size_t i = 0; i < predictions.size(); ++i) {
    scores.push_back(
        rouge(sentences(predictions[i]), sentences(references[i]), scoring.use_stemmer));
  }
  const RougeScores mean = mean_rouge(scores);
  const std::pair<const char*, RougeValue> values[] = {{"rouge1", mean.rouge1},
                                                       {"rouge2", mean.rouge2},
                                                       {"rougeL", mean.rougeL},
                                                       {"rougeLsum", mean.rougeLsum}};
  Metrics metrics;
  for (const auto& [name, value] : values) metrics.emplace_back(name, value.f);
  if (!scoring.precision_and_recall) return metrics;
  for (const auto& [name, value] : values) {
    metrics.emplace_back(fmt::format("{}_precision", name), value.precision);
    metrics.emplace_back(fmt::format("{}_recall", name), value.recall);
  }
  return metrics;
}

Metrics score_summaries(const SummaryData& data, const ScoreOptions& options,
                        const SummaryScoring& scoring) {
  const auto lines = is_jsonl(options.predictions) ? read_json_summaries(options)
                                                   : read_text_summaries(options.predictions);
  Matching matching(data);
  std::vector<std::string> predictions, references;
  for (size_t i = 0; i < lines.size(); ++i) {
    const size_t position = matching.position_of(lines[i], i);
    predictions.push_back(lines[i].text);
    references.push_back(data.examples[position].summary);
  }
  matching.check_complete(options.predictions.string());
  return summary_metrics(predictions, references, scoring);
}

}  // namespace quell
