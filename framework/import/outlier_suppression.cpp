#include "framework/import/outlier_suppression.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <optional>

#include "framework/config/scalar.h"
#include "framework/import/names.h"
#include "framework/import/published_config.h"

namespace quell {
namespace {

namespace fs = std::filesystem;
using published::Config;
using published::DataKind;
using published::QuantizerSection;

constexpr const char* kClipping = "prune_minmax";

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
  std::string task(const std::string& data) const;
  std::string calibration();
  std::string placement() const;
  std::string rules() const;
  std::string pipeline();
  void note_other_tasks();
  void note_differences();
  void note(ImportNote::Kind kind, std::string text) { notes_.push_back({kind, std::move(text)}); }
  void differs(std::string text) { note(ImportNote::Kind::kDifference, std::move(text)); }

  const fs::path& file_;
  const ImportOptions& options_;
  const Config& config_;
  ImportNotes& notes_;
  std::string model_type_;  // empty where neither folder nor name says
};

std::string Converter::name() const {
  std::string method = observer(config_.quant.a_qconfig);
  if (clips()) method = learns() ? "twc-fine" : "twc";
  std::replace(method.begin(), method.end(), '_', '-');
  if (config_.quant.ln.delay) method += "-gamma";
  return fmt::format("{}-w{}a{}-{}", config_.data.task(), config_.quant.w_qconfig.bit,
                     config_.quant.a_qconfig.bit, method);
}

void Converter::check_model_type(const fs::path& folder) {
  const std::string type = published_model_type(folder, config_.model.model_name_or_path);
  model_type_ = type;
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
                  yaml_text(name)));
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

std::string Converter::task(const std::string& data) const {
  const published::DataSection& section = config_.data;
  const int64_t batch_size = config_.train.per_device_eval_batch_size;
  std::string text;
  const auto set = [&](const char* key, const std::optional<int64_t>& value) {
    if (value) text += fmt::format("  {}: {}\n", key, *value);
  };
  switch (section.kind()) {
    case DataKind::kGlue:
      return fmt::format(
          "task: {{type: glue, name: {}, path: {}, max_length: {}, batch_size: {}}}\n",
          section.task(), yaml_text(data), section.max_seq_length, batch_size);
    case DataKind::kSquad:
      text = fmt::format("task:\n  type: squad\n  path: {}\n  version_2: {}\n  max_length: {}\n",
                         yaml_text(data), section.task() == "squad_v2", section.max_seq_length);
      set("doc_stride", section.doc_stride);
      set("n_best_size", section.n_best_size);
      set("max_answer_length", section.max_answer_length);
      if (section.null_score_diff_threshold) {
        text += fmt::format("  null_score_diff_threshold: {}\n",
                            format_double(*section.null_score_diff_threshold));
      }
      break;
    case DataKind::kSummarization:
      text = fmt::format(
          "task:\n  type: summarization\n  name: {}\n  path: {}\n  max_source_length: {}\n",
          section.task(), yaml_text(data), section.longest());
      set("num_beams", section.num_beams);
      set("max_length", config_.train.generation_max_length);
      break;
  }
  if (section.kind() == DataKind::kSummarization && section.source_prefix &&
      !section.source_prefix->empty()) {
    text += fmt::format("  source_prefix: {}\n", yaml_text(*section.source_prefix));
  }
  return text + fmt::format("  batch_size: {}\n", batch_size);
}

// The published code pads every sequence; what its observers see of that depends.
std::string Converter::calibration() {
  const bool keep = !config_.quant.is_remove_padding;
  std::string text = fmt::format("calibration: {{samples: {}", config_.quant.calibrate);
  if (keep) text += ", padding: keep";
  if (config_.data.pad_to_max_length) {
    text += fmt::format(", pad_to: {}", config_.data.longest());
  } else if (keep) {
    differs(
        fmt::format("quant.is_remove_padding False with data.pad_to_max_length False: kept "
                    "padding reaches to {} tokens here, not to the longest of each batch",
                    config_.data.longest()));
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

// Which tensors the code quantizes, by model and head.
std::string Converter::placement() const {
  const bool tensorrt = config_.quant.backend == "tensorrt";
  const std::string file = "placements/outlier_suppression";
  const bool classifies = config_.data.kind() == DataKind::kGlue;
  if (model_type_ == "bart" || config_.data.kind() == DataKind::kSummarization) {
    const std::string bart = file + (classifies ? "_bart_classification.yaml" : "_bart.yaml");
    return tensorrt ? fmt::format("[{}, {}_bart_tensorrt.yaml]", bart, file) : bart;
  }
  return file + (classifies ? "" : "_qa") + (tensorrt ? "_tensorrt.yaml" : ".yaml");
}

std::string Converter::rules() const {
  std::string text = fmt::format("quant:\n  include: {}\n", placement());
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
  // That code computes the targets of this task anew, behind gamma migration.
  const bool anew = quant.ln.delay && config_.data.kind() == DataKind::kSquad;
  return text + fmt::format("  - learn_scales: {{epochs: {}, learning_rate: {}{}}}\n", learn.epoch,
                            format_double(learn.lr), anew ? ", targets: transformed" : "");
}

// Keys of tasks that the file is not for.
void Converter::note_other_tasks() {
  const published::DataSection& data = config_.data;
  const auto belongs = [&](const char* key, bool given, DataKind kind, const char* task) {
    if (!given || data.kind() == kind) return;
    note(ImportNote::Kind::kNoEffect, fmt::format("{}: belongs to {}", key, task));
  };
  const auto answers = [&](const char* key, bool given) {
    belongs(key, given, DataKind::kSquad, "question answering");
  };
  answers("data.doc_stride", data.doc_stride.has_value());
  answers("data.n_best_size", data.n_best_size.has_value());
  answers("data.max_answer_length", data.max_answer_length.has_value());
  answers("data.null_score_diff_threshold", data.null_score_diff_threshold.has_value());
  const auto summaries = [&](const char* key, bool given) {
    belongs(key, given, DataKind::kSummarization, "summarization");
  };
  summaries("data.max_source_length", data.max_source_length.has_value());
  summaries("data.num_beams", data.num_beams.has_value());
  summaries("data.source_prefix", data.source_prefix.has_value());
  summaries("train.generation_max_length", config_.train.generation_max_length.has_value());
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
  note_other_tasks();
  if (config_.data.kind() == DataKind::kSquad && learns()) {
    differs(
        "the fine stage there cuts its batches into 8 windows each, to fit into a GPU; here they "
        "stay as they are");
  }
  if (config_.train.do_train) {
    differs(
        "train.do_train True: the imported experiment calibrates and does not train; "
        "experiments/outlier_suppression/qat_w4a4.yaml shows how to");
  }
}

std::string Converter::yaml() {
  const std::string model = model_path();
  const std::string data = data_path();
  note_differences();
  const bool complete = model != "MODEL" && data != "DATA";
  std::string text = fmt::format(
      "# Made by `quell import` from {}, a configuration file of\n"
      "# the published code of \"Outlier Suppression\" (Wei et al., NeurIPS 2022).\n",
      yaml_text(file_.generic_string()));
  if (!complete) {
    text += "# Say where model and data are: --set model.path=FOLDER --set task.path=FOLDER\n";
  }
  text += fmt::format("name: {}\nseed: {}\nmodel: {{path: {}}}\n", name(), config_.train.seed,
                      yaml_text(model));
  return text + task(data) + calibration() + rules() + pipeline();
}

}  // namespace

ImportedExperiment import_outlier_suppression(const fs::path& file, const ImportOptions& options) {
  ImportedExperiment imported;
  const Config config = published::load(file, imported.notes);
  imported.yaml = Converter(file, options, config, imported.notes).yaml();
  return imported;
}

}  // namespace quell
