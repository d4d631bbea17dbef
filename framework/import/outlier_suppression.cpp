#include "framework/import/outlier_suppression.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "framework/base/file.h"
#include "framework/config/scalar.h"
#include "framework/import/names.h"
#include "framework/import/published_config.h"

namespace quell {
namespace {

namespace fs = std::filesystem;
using published::Config;
using published::QuantizerSection;

constexpr const char* kClipping = "prune_minmax";

// A string as YAML, in quotes where it needs them.
std::string quoted(const std::string& text) {
  std::string yaml = to_yaml(string_scalar(text));
  yaml.pop_back();  // the line end
  return yaml;
}

class Converter {
 public:
  Converter(const fs::path& file, const ImportOptions& options, const Config& config,
            ImportNotes& notes)
      : file_(file), options_(options), config_(config), notes_(notes) {}

  std::string yaml();

 private:
  bool clips() const { return observer(config_.quant.a_qconfig) == kClipping; }
  bool learns() const {
    return clips() && config_.quant.a_qconfig.quantizer.find("LSQ") != std::string::npos;
  }
  static std::string observer(const QuantizerSection& section) {
    return published::own_name(published::observers(), section.observer);
  }

  std::string name() const;
  std::string model_path();
  void check_model_type(const fs::path& folder);
  std::string data_path();
  std::string calibration();
  std::string rules() const;
  std::string pipeline();
  void note_differences();
  void note(ImportNote::Kind kind, std::string text) { notes_.push_back({kind, std::move(text)}); }
  void differs(std::string text) { note(ImportNote::Kind::kDifference, std::move(text)); }

  const fs::path& file_;
  const ImportOptions& options_;
  const Config& config_;
  ImportNotes& notes_;
};

std::string Converter::name() const {
  std::string method = observer(config_.quant.a_qconfig);
  if (clips()) method = learns() ? "twc-fine" : "twc";
  std::replace(method.begin(), method.end(), '_', '-');
  if (config_.quant.ln.delay) method += "-gamma";
  return fmt::format("{}-w{}a{}-{}", config_.data.task(), config_.quant.w_qconfig.bit,
                     config_.quant.a_qconfig.bit, method);
}

// The model_type of a folder's config.json, or what the published code would guess from a name.
std::string model_type(const fs::path& folder, const std::string& name) {
  if (!folder.empty() && fs::exists(folder / "config.json")) {
    const auto json = nlohmann::json::parse(read_file(folder / "config.json"), nullptr, false);
    if (json.is_object() && json.contains("model_type") && json["model_type"].is_string()) {
      return json["model_type"].get<std::string>();
    }
  }
  for (const char* type : {"roberta", "bart", "bert"}) {
    if (name.find(type) != std::string::npos) return type;
  }
  return "";
}

void Converter::check_model_type(const fs::path& folder) {
  const std::string type = model_type(folder, config_.model.model_name_or_path);
  const auto& known = options_.model_types;
  if (type.empty() || std::find(known.begin(), known.end(), type) != known.end()) return;
  note(
      ImportNote::Kind::kToSet,
      fmt::format("model: {} models are not there yet (today: {}); the experiment is complete, but "
                  "runs with a later release only",
                  type, fmt::join(known, ", ")));
}

std::string Converter::model_path() {
  if (!options_.model.empty()) {
    check_model_type(options_.model);
    return options_.model;
  }
  const std::string& name = config_.model.model_name_or_path;
  for (const fs::path& place : search_places(name, {file_.string(), 1, 1})) {
    if (!fs::is_directory(place)) continue;
    check_model_type(place);
    return fs::absolute(place).lexically_normal().string();
  }
  check_model_type({});
  note(
      ImportNote::Kind::kToSet,
      fmt::format("model.path: {} is no folder here; say `--model FOLDER`, or `quell run ... --set "
                  "model.path=FOLDER`",
                  quoted(name)));
  return "MODEL";
}

std::string Converter::data_path() {
  if (!options_.data.empty()) return options_.data;
  note(ImportNote::Kind::kToSet,
       fmt::format("task.path: the folder with the files of {}; say `--data FOLDER`, or `quell run "
                   "... --set task.path=FOLDER`",
                   config_.data.task()));
  return "DATA";
}

// The published code pads every sequence; what its observers see of that depends.
std::string Converter::calibration() {
  const bool keep = !config_.quant.is_remove_padding;
  std::string text = fmt::format("calibration: {{samples: {}", config_.quant.calibrate);
  if (keep) text += ", padding: keep";
  if (config_.data.pad_to_max_length) {
    text += fmt::format(", pad_to: {}", config_.data.max_seq_length);
  } else if (keep) {
    differs(
        fmt::format("quant.is_remove_padding False with data.pad_to_max_length False: kept "
                    "padding reaches to {} tokens here, not to the longest of each batch",
                    config_.data.max_seq_length));
  }
  return text + "}\n";
}

std::string rule(const char* sites, const QuantizerSection& section) {
  const std::string granularity =
      section.ch_axis < 0 ? "tensor" : fmt::format("channel, axis: {}", section.ch_axis);
  return fmt::format(
      "    - {{sites: \"{}:*\", bits: {}, symmetric: {}, granularity: {}, observer: {}, "
      "quantizer: {}}}\n",
      sites, section.bit, section.symmetric, granularity,
      published::own_name(published::observers(), section.observer),
      published::own_name(published::quantizers(), section.quantizer));
}

std::string Converter::rules() const {
  const bool tensorrt = config_.quant.backend == "tensorrt";
  std::string text = fmt::format("quant:\n  include: placements/outlier_suppression{}.yaml\n",
                                 tensorrt ? "_tensorrt" : "");
  text += "  rules:\n" + rule("weight", config_.quant.w_qconfig) +
          rule("activation", config_.quant.a_qconfig);
  if (clips()) {
    text +=
        "    # never clipped by the published code\n"
        "    - {sites: \"activation:{*.probs,pooler.*}\", observer: avg_minmax}\n";
  }
  return text;
}

std::string Converter::pipeline() {
  const auto& quant = config_.quant;
  std::string text = "pipeline:\n";
  if (quant.ln.delay) {
    text +=
        "  - gamma_migration: {epsilon: 1.0e-5}  # of the published code, whatever the model's\n";
  }
  if (!clips()) return text + "  - calibrate\n";
  std::vector<std::string> grid;
  if (quant.iters) grid.push_back(fmt::format("iterations: {}", *quant.iters));
  if (quant.step) grid.push_back(fmt::format("step: {}", format_double(*quant.step)));
  text += "  - token_wise_clipping";
  text += grid.empty() ? "\n" : fmt::format(": {{{}}}\n", fmt::join(grid, ", "));
  if (!learns()) return text;
  const auto learn = quant.learn.value_or(published::LearnSection());
  return text + fmt::format("  - learn_scales: {{epochs: {}, learning_rate: {}}}\n", learn.epoch,
                            format_double(learn.lr));
}

void Converter::note_differences() {
  const auto& quant = config_.quant;
  const auto& a = quant.a_qconfig;
  const auto unused = [&](const char* key, const std::string& reason) {
    note(ImportNote::Kind::kNoEffect, fmt::format("{}: {}", key, reason));
  };
  differs(
      "calibration: other examples are drawn from the training set, since the random generators "
      "differ; `calibration: {file: FILE}` takes given ones");
  for (const auto* section : {&a, &quant.w_qconfig}) {
    if (!section->observer.starts_with("EMA")) continue;
    differs(
        fmt::format("{}: named after a moving average, but computes the equal-weight mean over "
                    "batches; so does {} here",
                    section->observer, observer(*section)));
  }
  if (clips() && !quant.iters && a.bit != 8 && a.bit != 6 && a.bit != 4) {
    differs(
        fmt::format("quant.a_qconfig.bit {}: token-wise clipping there knows 8, 6 and 4 bits "
                    "only; here the span of ratios is interpolated",
                    a.bit));
  }
  if (!clips() && (quant.iters || quant.step)) {
    unused("quant.iters, quant.step",
           "only token-wise clipping (AvgPruneMinMaxObserver) has ratios");
  }
  if (!learns() && quant.learn) {
    unused("quant.learn", "scales are learned after token-wise clipping by an LSQ quantizer only");
  }
  if (config_.data.max_train_samples) {
    differs(
        fmt::format("data.max_train_samples {}: here calibration draws from all training "
                    "examples, or from `calibration: {{file: FILE}}`",
                    *config_.data.max_train_samples));
  }
  if (config_.data.max_eval_samples) {
    differs(fmt::format("data.max_eval_samples {}: here the whole dev set is evaluated",
                        *config_.data.max_eval_samples));
  }
  if (config_.train.do_train) {
    differs(
        "train.do_train True: the imported experiment calibrates and does not train; "
        "experiments/outlier_suppression/qat_w4a4.yaml shows how to");
  }
}

std::string Converter::yaml() {
  note_differences();
  const std::string model = model_path();
  const std::string data = data_path();
  const bool complete = model != "MODEL" && data != "DATA";
  std::string text = fmt::format(
      "# Made by `quell import` from {}, a configuration file of\n"
      "# the published code of \"Outlier Suppression\" (Wei et al., NeurIPS 2022).\n",
      quoted(file_.generic_string()));
  if (!complete) {
    text += "# Say where model and data are: --set model.path=FOLDER --set task.path=FOLDER\n";
  }
  text += fmt::format("name: {}\nseed: {}\nmodel: {{path: {}}}\n", name(), config_.train.seed,
                      quoted(model));
  text += fmt::format("task: {{type: glue, name: {}, path: {}, max_length: {}, batch_size: {}}}\n",
                      config_.data.task(), quoted(data), config_.data.max_seq_length,
                      config_.train.per_device_eval_batch_size);
  return text + calibration() + rules() + pipeline();
}

}  // namespace

ImportedExperiment import_outlier_suppression(const fs::path& file, const ImportOptions& options) {
  ImportedExperiment imported;
  const Config config = published::load(file, imported.notes);
  imported.yaml = Converter(file, options, config, imported.notes).yaml();
  return imported;
}

}  // namespace quell
