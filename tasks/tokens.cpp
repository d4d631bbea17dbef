#include <ATen/ops/tensor.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "framework/base/error.h"
#include "framework/io/safetensors.h"
#include "framework/plugin/registry.h"
#include "framework/task/task.h"
#include "tasks/data/batching.h"
#include "tasks/data/data_files.h"
#include "tasks/data/prediction_metrics.h"
#include "tasks/data/token_file.h"
#include "tasks/metrics/named.h"

namespace quell {
namespace {

struct Params {
  std::filesystem::path path;
  std::string keys;
  std::string calibration_keys;
  std::string evaluation_keys;
  std::string evaluation_labels;
  std::vector<std::string> calibration_batches;
  std::vector<std::string> evaluation_batches;
  int64_t batch_size = 0;
  bool mask_from_padding = false;
  Padding evaluation_padding = Padding::kDrop;
  std::vector<std::string> metrics;

  template <class V>
  static void describe(V& v) {
    v("path", &Params::path, "safetensors file with the token ids", required(), existing_file());
    v("keys", &Params::keys,
      "names of the token id tensors, {} stands for the batch: b{}.input_ids; masks, lengths "
      "(lens), "
      "type ids, position ids, labels, spans and decoder ids have the same names with another word "
      "for "
      "input_ids");
    v("calibration_keys", &Params::calibration_keys, "the same for calibration only");
    v("evaluation_keys", &Params::evaluation_keys, "the same for evaluation only");
    v("evaluation_labels", &Params::evaluation_labels,
      "names of the labels where they are called otherwise: labels.{}");
    v("calibration_batches", &Params::calibration_batches,
      "batches in their order: [0, 1, 2], or ranges: [0-2]", or_single());
    v("evaluation_batches", &Params::evaluation_batches, "batches in their order", or_single());
    v("batch_size", &Params::batch_size, "cut larger batches into this many sequences; 0: never",
      at_least(0));
    v("mask_from_padding", &Params::mask_from_padding,
      "batches without mask and lengths: padding ids at the end are padding");
    v("evaluation_padding", &Params::evaluation_padding,
      "keep: padding positions are run like tokens, masked as attention keys, which repeats the "
      "sums of published code to the last bit more often");
    v("metrics", &Params::metrics,
      "empty: accuracy, or pearson and spearman for a single output; needs labels", or_single());
  }

  static void check(const Params& params, Report& report) {
    check_keys("calibration_keys", params.calibration_keys, params.keys, report);
    check_keys("evaluation_keys", params.evaluation_keys, params.keys, report);
    for (const std::string& name : params.metrics) {
      try {
        check_metric_name(name);
      } catch (const ConfigError& error) {
        report.problem("metrics", error.what());
      }
    }
  }

  static void check_keys(const std::string& key, const std::string& own, const std::string& shared,
                         Report& report) {
    const std::string& keys = own.empty() ? shared : own;
    if (keys.find("input_ids") != std::string::npos) return;
    report.problem(own.empty() ? "keys" : key, "must contain \"input_ids\", as in b{}.input_ids");
  }
};

// Batches of given token ids, used exactly as they are: for models without a tokenizer and for
// comparing with published code on its own inputs. Sequences are numbered through all batches.
class Tokens final : public Task {
 public:
  Tokens(const Params& params, const TaskContext& context);

  std::vector<Batch> calibration(const CalibrationOptions& options, uint64_t seed) override;
  Evaluation evaluate(const Predictor& predictor,
                      const std::function<void(int64_t, int64_t)>& progress) override;
  std::vector<int64_t> calibration_indices() const override { return calibration_indices_; }
  std::vector<std::string> files() const override { return {params_.path.string()}; }
  std::vector<std::string> notes() const override { return notes_; }

 private:
  std::vector<TokenGroup> read_groups(const std::string& keys, const std::string& labels,
                                      const std::vector<std::string>& batches,
                                      const std::string& what);
  std::vector<Batch> pack_groups(const std::vector<TokenGroup>& groups,
                                 const CalibrationOptions& options) const;
  Batch pack_part(const TokenGroup& group, size_t begin, size_t count,
                  const CalibrationOptions& options) const;

  Params params_;
  TokenLimits limits_;
  std::vector<Batch> evaluation_;
  std::vector<double> evaluation_labels_;  // empty unless every batch has labels
  std::vector<int64_t> calibration_indices_;
  std::vector<std::string> notes_;
};

// Models that look given positions up in their table as Hugging Face does. RoBERTa counts from its
// padding id, and BART takes none.
bool takes_positions(const nlohmann::json* config) {
  if (config == nullptr) return false;
  const nlohmann::json type = config->value("model_type", nlohmann::json());
  return type == "bert" || type == "electra" || type == "distilbert" || type == "mobilebert";
}

Tokens::Tokens(const Params& params, const TaskContext& context)
    : params_(params),
      limits_{context.vocabulary_size, context.max_positions, context.pad_id,
              params.mask_from_padding, takes_positions(context.model_config)} {
  if (context.model_config == nullptr) return;
  const auto groups = read_groups(params_.evaluation_keys, params_.evaluation_labels,
                                  params_.evaluation_batches, "evaluation");
  CalibrationOptions packing;
  packing.padding = params_.evaluation_padding;
  evaluation_ = pack_groups(groups, packing);
  size_t sequences = 0;
  for (const TokenGroup& group : groups) {
    evaluation_labels_.insert(evaluation_labels_.end(), group.labels.begin(), group.labels.end());
    sequences += group.sequences.size();
  }
  if (evaluation_labels_.size() == sequences) return;
  evaluation_labels_.clear();
  if (params_.metrics.empty()) return;
  throw ConfigError(
      "task.metrics: not every evaluation batch has labels; name them with "
      "evaluation_labels");
}

std::vector<TokenGroup> Tokens::read_groups(const std::string& keys, const std::string& labels,
                                            const std::vector<std::string>& batches,
                                            const std::string& what) {
  const std::string& key_template = keys.empty() ? params_.keys : keys;
  std::vector<std::string> names = expand_ranges(batches);
  if (key_template.find("{}") == std::string::npos) {
    if (!names.empty()) {
      throw ConfigError(fmt::format("task.{}_batches: the keys \"{}\" have no {{}} for a batch",
                                    what, key_template));
    }
    names.emplace_back();
  }
  if (names.empty()) {
    throw ConfigError(fmt::format("task.{}_batches: name the batches, e.g. [0, 1, 2]", what));
  }
  const SafetensorsFile file(params_.path);
  std::vector<TokenGroup> groups;
  for (const std::string& name : names) {
    groups.push_back(read_token_group(file, fill_template(key_template, name),
                                      fill_template(labels, name), limits_));
  }
  if (const auto& unread = groups.front().unread; !unread.empty()) {
    // Calibration and evaluation may begin with the same batch.
    add_note(fmt::format("{}: not read beside {}: {}", params_.path.string(),
                         groups.front().ids_key, fmt::join(unread, ", ")),
             notes_);
  }
  return groups;
}

template <class T>
std::span<const T> part_of(const std::vector<T>& values, size_t begin, size_t count) {
  return values.empty() ? std::span<const T>() : std::span(values).subspan(begin, count);
}

at::Tensor to_tensor(std::span<const int64_t> values) {
  return values.empty() ? at::Tensor()
                        : at::tensor(at::ArrayRef<int64_t>(values.data(), values.size()));
}

// Given positions in place of counted ones; kept padding beyond the file's tensor keeps its own.
void set_positions(Batch& batch, std::span<const std::vector<int64_t>> positions) {
  auto* values = batch.position_ids.mutable_data_ptr<int64_t>();
  for (int64_t i = 0; i < std::ssize(positions); ++i) {
    const int64_t count = std::min(batch.length(i), std::ssize(positions[i]));
    std::copy_n(positions[i].begin(), count, values + batch.offsets[i]);
  }
}

Batch Tokens::pack_part(const TokenGroup& group, size_t begin, size_t count,
                        const CalibrationOptions& options) const {
  const bool keep = options.padding != Padding::kDrop;
  const int64_t length = options.pad_to > 0 ? options.pad_to : group.positions();
  Batch batch = pack(part_of(group.sequences, begin, count), keep ? length : 0, limits_.pad_id);
  if (!group.decoder_sequences.empty()) {
    const auto positions = static_cast<int64_t>(group.decoder_sequences.front().ids.size());
    pack_decoder(batch, part_of(group.decoder_sequences, begin, count), keep ? positions : 0,
                 limits_.pad_id);
  }
  set_positions(batch, part_of(group.position_ids, begin, count));
  batch.start_positions = to_tensor(part_of(group.start_positions, begin, count));
  batch.end_positions = to_tensor(part_of(group.end_positions, begin, count));
  return batch;
}

std::vector<Batch> Tokens::pack_groups(const std::vector<TokenGroup>& groups,
                                       const CalibrationOptions& options) const {
  std::vector<Batch> batches;
  int64_t next_example = 0;
  const int64_t batch_size = options.batch_size > 0 ? options.batch_size : params_.batch_size;
  for (const TokenGroup& group : groups) {
    const size_t sequences = group.sequences.size();
    const size_t step = batch_size > 0 ? static_cast<size_t>(batch_size) : sequences;
    for (size_t begin = 0; begin < sequences; begin += step) {
      const size_t count = std::min(step, sequences - begin);
      Batch batch = pack_part(group, begin, count, options);
      const auto labels = part_of(group.labels, begin, count);
      if (!labels.empty()) set_labels(batch, labels, group.labels_are_scores);
      batch.example_ids.resize(count);
      std::iota(batch.example_ids.begin(), batch.example_ids.end(), next_example);
      next_example += static_cast<int64_t>(count);
      batches.push_back(std::move(batch));
    }
  }
  return batches;
}

std::vector<Batch> Tokens::calibration(const CalibrationOptions& options, uint64_t /*seed*/) {
  const auto groups =
      read_groups(params_.calibration_keys, "", params_.calibration_batches, "calibration");
  std::vector<Batch> batches = pack_groups(groups, options);
  if (options.padding == Padding::kDrop) pad_attention_to(batches, options.pad_to);
  limit_batches(batches, options);
  calibration_indices_.clear();
  for (const Batch& batch : batches) {
    calibration_indices_.insert(calibration_indices_.end(), batch.example_ids.begin(),
                                batch.example_ids.end());
  }
  return batches;
}

Evaluation Tokens::evaluate(const Predictor& predictor,
                            const std::function<void(int64_t, int64_t)>& progress) {
  int64_t total = 0;
  for (const Batch& batch : evaluation_) total += batch.sequences();
  int64_t finished = 0;
  auto outputs = collect_outputs(evaluation_, total, predictor, [&](int64_t sequences) {
    finished += sequences;
    if (progress) progress(finished, total);
  });
  Evaluation evaluation;
  for (int64_t index = 0; index < total; ++index) {
    const auto label =
        evaluation_labels_.empty() ? std::nullopt : std::optional(evaluation_labels_[index]);
    evaluation.predictions.push_back({"evaluation", index, label, std::move(outputs[index])});
  }
  if (!evaluation_labels_.empty()) {
    evaluation.metrics =
        prediction_metrics(params_.metrics, evaluation.predictions, params_.path.string());
  }
  return evaluation;
}

}  // namespace

void register_task_tokens(Plugins& plugins) {
  add_plugin<Tokens, Params>(plugins.tasks, "tokens",
                             "Given token ids from a safetensors file, in given batches.",
                             "own format: tensors input_ids, attention_mask, ... per batch");
}

}  // namespace quell
