#include "framework/import/names.h"

namespace quell::published {
namespace {

// The review-time copy has observers named EMA, which average over batches with equal weights like
// those named Avg.
constexpr Name kObservers[] = {{"MinMaxObserver", "minmax"},
                               {"AvgMinMaxObserver", "avg_minmax"},
                               {"EMAMinMaxObserver", "avg_minmax"},
                               {"AvgPruneMinMaxObserver", "prune_minmax"},
                               {"EMAPruneMinMaxObserver", "prune_minmax"},
                               {"AvgQuantileObserver", "quantile"},
                               {"EMAQuantileObserver", "quantile"},
                               {"MSEObserver", "mse"},
                               {"AvgMSEObserver", "avg_mse"},
                               {"EMAMSEObserver", "avg_mse"},
                               {"MSEFastObserver", "mse_fast"},
                               {"AvgMSEFastObserver", "avg_mse_fast"},
                               {"EMAMSEFastObserver", "avg_mse_fast"},
                               {"LSQPlusObserver", "lsq_init"}};

constexpr Name kQuantizers[] = {{"FixedFakeQuantize", "fixed"},
                                {"LSQFakeQuantize", "lsq"},
                                {"LSQPlusFakeQuantize", "lsq_plus"}};

constexpr std::string_view kLocal =
    "models and data are local folders: model.path and task.path; nothing is downloaded or cached";
constexpr std::string_view kFolder = "configuration and tokenizer are those of the model's folder";
constexpr std::string_view kThreads = "`threads` is the number of processor threads";
constexpr std::string_view kFiles = "data files are task.path, task.train_file and task.dev_file";
constexpr std::string_view kTest = "the dev set is evaluated; a test set has no labels";
constexpr std::string_view kAnswers = "which of the two SQuADs it is says data.dataset_name";
constexpr std::string_view kSummaries =
    "columns are found by their names; how summaries are written is num_beams and "
    "generation_max_length, and what else the model's folder says";
constexpr std::string_view kStages = "`stages` says when the task is evaluated";
constexpr std::string_view kOutput = "results go to runs/NAME, or where `quell run --output` says";
constexpr std::string_view kTraining = "an argument of training, which does not happen here";
constexpr std::string_view kLogging =
    "logging and saving of the Trainer; quell keeps everything in the folder of the run";
constexpr std::string_view kDevice = "models run on the CPU";

constexpr WithoutEffect kWithoutEffect[] = {{"data.dataset_config_name", kLocal},
                                            {"data.overwrite_cache", kLocal},
                                            {"data.cache_dir", kLocal},
                                            {"data.preprocessing_num_workers", kThreads},
                                            {"data.train_file", kFiles},
                                            {"data.validation_file", kFiles},
                                            {"data.test_file", kTest},
                                            {"data.max_predict_samples", kTest},
                                            {"data.version_2_with_negative", kAnswers},
                                            {"data.max_target_length", kSummaries},
                                            {"data.val_max_target_length", kSummaries},
                                            {"data.lang", kSummaries},
                                            {"data.task", kSummaries},
                                            {"data.text_column", kSummaries},
                                            {"data.summary_column", kSummaries},
                                            {"data.forced_bos_token", kSummaries},
                                            {"data.ignore_pad_token_for_loss", kSummaries},
                                            {"model.cache_dir", kLocal},
                                            {"model.model_revision", kLocal},
                                            {"model.use_auth_token", kLocal},
                                            {"model.config_name", kFolder},
                                            {"model.tokenizer_name", kFolder},
                                            {"model.use_fast_tokenizer", kFolder},
                                            {"model.resize_position_embeddings", kSummaries},
                                            {"train.output_dir", kOutput},
                                            {"train.overwrite_output_dir", kOutput},
                                            {"train.do_eval", kStages},
                                            {"train.evaluation_strategy", kStages},
                                            {"train.eval_steps", kStages},
                                            {"train.eval_accumulation_steps", kStages},
                                            {"train.do_predict", kTest},
                                            {"train.per_device_train_batch_size", kTraining},
                                            {"train.gradient_accumulation_steps", kTraining},
                                            {"train.learning_rate", kTraining},
                                            {"train.weight_decay", kTraining},
                                            {"train.max_grad_norm", kTraining},
                                            {"train.num_train_epochs", kTraining},
                                            {"train.max_steps", kTraining},
                                            {"train.lr_scheduler_type", kTraining},
                                            {"train.warmup_ratio", kTraining},
                                            {"train.warmup_steps", kTraining},
                                            {"train.gradient_checkpointing", kTraining},
                                            {"train.label_smoothing_factor", kTraining},
                                            {"train.predict_with_generate", kSummaries},
                                            {"progress.log_level", kLogging},
                                            {"progress.log_level_replica", kLogging},
                                            {"progress.logging_dir", kLogging},
                                            {"progress.logging_strategy", kLogging},
                                            {"progress.logging_steps", kLogging},
                                            {"progress.save_strategy", kLogging},
                                            {"progress.save_steps", kLogging},
                                            {"progress.save_total_limit", kLogging},
                                            {"progress.save_on_each_node", kLogging},
                                            {"progress.run_name", kLogging},
                                            {"progress.disable_tqdm", kLogging},
                                            {"progress.load_best_model_at_end", kTraining},
                                            {"progress.metric_for_best_model", kTraining},
                                            {"progress.greater_is_better", kTraining},
                                            {"progress.no_cuda", kDevice}};

}  // namespace

std::span<const Name> observers() { return kObservers; }
std::span<const Name> quantizers() { return kQuantizers; }

std::string own_name(std::span<const Name> names, std::string_view published) {
  for (const Name& name : names) {
    if (name.published == published) return std::string(name.own);
  }
  return "";
}

std::vector<std::string> published_names(std::span<const Name> names) {
  std::vector<std::string> list;
  for (const Name& name : names) list.emplace_back(name.published);
  return list;
}

std::span<const WithoutEffect> keys_without_effect() { return kWithoutEffect; }

}  // namespace quell::published
