#include "framework/record/run_folder.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <cmath>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/json/json.h"
#include "framework/record/environment.h"
#include "framework/record/model_folder.h"
#include "framework/record/outliers_file.h"
#include "framework/record/results_file.h"

namespace quell {
namespace fs = std::filesystem;
namespace {

// Written last: where it exists, the run is complete.
constexpr const char* kCompletionFile = "metrics.json";
constexpr const char* kOutliersFile = "outliers.h5";
constexpr const char* kModelFolder = "model";
constexpr const char* kRunLock = "run.lock";  // beside that of the sweep whose cell the folder is
constexpr const char* kFiles[] = {kCompletionFile,     "config.resolved.yaml", "results.h5",
                                  "predictions.jsonl", "environment.json",     "log.txt",
                                  kOutliersFile};

nlohmann::ordered_json number(double value) {
  return std::isfinite(value) ? nlohmann::ordered_json(value) : nlohmann::ordered_json();
}

std::string metrics_json(const RunRecord& run) {
  nlohmann::ordered_json root;
  root["format"] = "quell metrics";
  root["version"] = 1;
  root["name"] = run.name;
  auto& stages = root["stages"] = nlohmann::ordered_json::object();
  for (const StageResult& result : run.stages) {
    auto& stage = stages[result.stage] = nlohmann::ordered_json::object();
    for (const auto& [name, value] : result.evaluation.metrics) stage[name] = number(value);
  }
  for (const auto& [name, value] : run.task_protocol) root["protocol"][name] = value;
  const ModelSize& size = run.size;
  root["model_bytes"] = {{"float", size.float_bytes},
                         {"quantized", size.quantized_bytes},
                         {"ratio", size.ratio()},
                         {"float_embeddings", size.float_embedding_bytes},
                         {"quantized_embeddings", size.quantized_embedding_bytes}};
  root["calibration"] = {{"batches", run.calibration_batches}, {"tokens", run.calibration_tokens}};
  auto& transforms = root["transforms"] = nlohmann::ordered_json::array();
  for (const TransformCheck& check : run.transforms) {
    transforms.push_back({{"name", check.name},
                          {"max_output_difference", check.max_difference},
                          {"max_output", check.max_output}});
  }
  return root.dump(2) + "\n";
}

void append_outputs(const Prediction& prediction, std::string& line) {
  line += '{';
  const char* separator = "";
  for (const auto& [name, values] : prediction.outputs) {
    line += fmt::format("{}\"{}\":[", separator, name);
    for (size_t i = 0; i < values.size(); ++i) {
      if (i > 0) line += ',';
      line += format_json_number(values[i]);
    }
    line += ']';
    separator = ",";
  }
  line += '}';
}

// Text as it stands in a JSON file; parts that are no UTF-8 become U+FFFD.
std::string json_text(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// The text of every stage, and what else it would write.
void append_texts(const std::vector<StageResult>& stages, size_t example, std::string& line) {
  std::string texts, more;
  for (size_t stage = 0; stage < stages.size(); ++stage) {
    const Prediction& prediction = stages[stage].evaluation.predictions[example];
    const std::string start = fmt::format("{}\"{}\":", stage > 0 ? "," : "", stages[stage].stage);
    std::vector<std::string> others;
    for (const std::string& text : prediction.more_texts) others.push_back(json_text(text));
    texts += start + json_text(prediction.text.value_or(""));
    more += fmt::format("{}[{}]", start, fmt::join(others, ","));
  }
  line += fmt::format(",\"texts\":{{{}}}", texts);
  const bool has_more = !stages[0].evaluation.predictions[example].more_texts.empty();
  if (has_more) line += fmt::format(",\"more_texts\":{{{}}}", more);
}

// The candidates of every stage.
void append_nbest(const std::vector<StageResult>& stages, size_t example, std::string& line) {
  line += ",\"nbest\":{";
  for (size_t stage = 0; stage < stages.size(); ++stage) {
    std::vector<std::string> objects;
    for (const RankedText& one : stages[stage].evaluation.predictions[example].nbest) {
      std::string object = fmt::format("{{\"text\":{}", json_text(one.text));
      for (const auto& [name, value] : one.numbers) {
        object += fmt::format(",\"{}\":{}", name, format_json_number(value));
      }
      objects.push_back(object + '}');
    }
    line += fmt::format("{}\"{}\":[{}]", stage > 0 ? "," : "", stages[stage].stage,
                        fmt::join(objects, ","));
  }
  line += '}';
}

// One line per example, with the outputs (and texts) of every stage.
std::string predictions_jsonl(const RunRecord& run) {
  std::string text;
  const auto& stages = run.stages;
  if (stages.empty()) return text;
  for (size_t i = 0; i < stages[0].evaluation.predictions.size(); ++i) {
    const Prediction& first = stages[0].evaluation.predictions[i];
    text += fmt::format("{{\"set\":\"{}\",\"index\":{}", first.set, first.index);
    if (!first.id.empty()) text += fmt::format(",\"id\":{}", json_text(first.id));
    if (first.label) text += fmt::format(",\"label\":{}", format_json_number(*first.label));
    text += ",\"outputs\":{";
    for (size_t stage = 0; stage < stages.size(); ++stage) {
      text += fmt::format("{}\"{}\":", stage > 0 ? "," : "", stages[stage].stage);
      append_outputs(stages[stage].evaluation.predictions[i], text);
    }
    text += '}';
    if (first.text) append_texts(stages, i, text);
    if (!first.nbest.empty()) append_nbest(stages, i, text);
    for (const auto& [name, hash] : first.hashes) text += fmt::format(",\"{}\":\"{}\"", name, hash);
    text += "}\n";
  }
  return text;
}

void refuse_earlier_run(const fs::path& folder) {
  for (const char* name : kFiles) {
    if (!fs::exists(folder / name)) continue;
    throw ConfigError(
        fmt::format("{}: holds an earlier run ({}); use --overwrite to replace it, or "
                    "--output to write elsewhere",
                    folder.string(), name));
  }
  if (!fs::exists(progress_folder(folder))) return;
  throw ConfigError(
      fmt::format("{}: holds a run that was stopped; use --resume to go on with it, or "
                  "--overwrite to start anew",
                  folder.string()));
}

// Whether a complete run of this very experiment is there, and no later one was stopped. Throws
// ConfigError when the complete run is of another experiment.
bool is_complete(const fs::path& folder, const std::string& config) {
  if (fs::exists(progress_folder(folder)) || !fs::exists(folder / kCompletionFile)) return false;
  if (read_file(folder / "config.resolved.yaml") == config) return true;
  throw ConfigError(
      fmt::format("{}: holds a complete run of another experiment, so there is nothing to resume; "
                  "use --overwrite to replace it, or --output to write elsewhere",
                  folder.string()));
}

}  // namespace

fs::path progress_folder(const fs::path& folder) { return folder / "progress"; }

RunFolderLock::RunFolderLock(const fs::path& folder, Log& log) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    throw Error(fmt::format("{}: cannot create the run folder: {}; choose another with --output",
                            folder.string(), error.message()));
  }
  lock_ = FileLock::exclusive(folder / kRunLock);
  if (lock_->state() == FileLock::State::kBusy) {
    throw ConfigError(
        fmt::format("{}: another run is writing to this folder; wait until it has ended, or use "
                    "--output to write elsewhere",
                    folder.string()));
  }
  if (lock_->held()) return;
  log.info(fmt::format(
      "warning: {}: this file system cannot lock files: see that no other run writes here",
      folder.string()));
}

bool prepare_run_folder(const fs::path& folder, const std::string& config, EarlierRun earlier) {
  std::error_code error;
  if (earlier == EarlierRun::kRefuse) refuse_earlier_run(folder);
  if (earlier == EarlierRun::kOverwrite) fs::remove_all(progress_folder(folder), error);
  if (earlier == EarlierRun::kResume && is_complete(folder, config)) return false;
  // Files of runs that were killed while they wrote.
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".partial") fs::remove(entry.path(), error);
  }
  // Fails now rather than after the work when the folder is not writable.
  const fs::path probe = folder / "writable.partial";
  write_file(probe, "");
  fs::remove(probe, error);
  return true;
}

void write_run_folder(const fs::path& folder, const RunRecord& run, const Log& log) {
  // An earlier run stays whole until here, and is incomplete from here on.
  std::error_code error;
  fs::remove(folder / kCompletionFile, error);
  if (error) {
    throw Error(
        fmt::format("{}: cannot remove the earlier run: {}; choose another folder with "
                    "--output",
                    folder.string(), error.message()));
  }
  if (run.trained) {
    write_model_folder(folder / kModelFolder, *run.trained, run.model_folder);
  } else if (!fs::equivalent(folder / kModelFolder, run.model_folder, error)) {
    remove_model_folder(folder / kModelFolder);
  }
  write_file(folder / "config.resolved.yaml", run.config);
  write_file(folder / "predictions.jsonl", predictions_jsonl(run));
  write_results_file(folder / "results.h5", run);
  if (run.outliers) {
    write_outliers_file(folder / kOutliersFile, run);
  } else {
    fs::remove(folder / kOutliersFile, error);
  }
  write_file(folder / "environment.json", environment_json(run));
  write_file(folder / "log.txt", log.text());
  write_file(folder / kCompletionFile, metrics_json(run));
  fs::remove_all(progress_folder(folder), error);
}

}  // namespace quell
