#include "framework/import/qualcomm_options.h"

namespace quell::published {
namespace {

using Takes = CommandOption::Takes;

constexpr std::string_view kTraining = "an argument of training, which does not happen here";
constexpr std::string_view kLogging = "quell keeps everything in the folder of the run";
constexpr std::string_view kLocal =
    "models and data are local folders, model.path and task.path; nothing is downloaded or cached";
constexpr std::string_view kThreads = "models run on the CPU, on as many `threads` as you say";
constexpr std::string_view kUnused = "declared, but without an effect in the published code, too";

constexpr CommandOption without_effect(std::string_view name, std::string_view reason,
                                       Takes takes = Takes::kValue, std::string_view off = {}) {
  return {name, takes, off, reason};
}

constexpr CommandOption kOptions[] = {
    {"--qmethod"},
    {"--qmethod-act"},
    {"--weight-quant-method"},
    {"--weight-opt-method"},
    {"--num-candidates"},
    {"--n-bits"},
    {"--n-bits-act"},
    {"--per-channel", Takes::kSwitch},
    {"--percentile"},
    {"--act-quant", Takes::kSwitch, "--no-act-quant"},
    {"--weight-quant", Takes::kSwitch, "--no-weight-quant"},
    {"--quant-setup"},
    {"--act-quant-method"},
    {"--act-opt-method"},
    {"--act-num-candidates"},
    {"--act-momentum"},
    {"--cross-entropy-layer"},
    {"--num-est-batches"},
    {"--est-ranges-pad", Takes::kSwitch, "--est-ranges-no-pad"},
    {"--est-ranges-batch-size"},
    {"--quant-dict"},
    {"--per-embd", Takes::kSwitch},
    {"--per-groups"},
    {"--per-groups-permute", Takes::kSwitch},
    {"--per-groups-permute-shared-h", Takes::kSwitch},
    {"--seed"},
    {"--task"},
    {"--model-name"},
    {"--model-path"},
    {"--max-seq-length"},
    {"--pad-to-max-length", Takes::kSwitch, "--no-pad-to-max-length"},
    {"--batch-size"},
    {"--eval-batch-size"},
    {"--num-train-samples"},
    {"--num-val-samples"},
    {"--per-token",
     Takes::kSwitch,
     {},
     {},
     "one range per position of the sequence, for all sequences of a batch, is no granularity "
     "here; "
     "leave it out and give the activations `granularity: token`, which is one per token"},
    {"--dynamic",
     Takes::kSwitch,
     {},
     {},
     "ranges that follow every batch are no granularity here; leave it out, or give the "
     "activations "
     "`granularity: token`, where they follow every token"},
    {"--quant-model-path",
     Takes::kValue,
     {},
     {},
     "stored quantizers of that code are not read; leave it out, ranges are estimated anew"},
    without_effect("--double", "everything is computed in float32", Takes::kSwitch),
    without_effect("--data-dir", kLocal),
    without_effect("--cache-dir", kLocal),
    without_effect("--overwrite-cache", kLocal, Takes::kSwitch),
    without_effect("--line-by-line", kUnused, Takes::kSwitch),
    without_effect("--use-fast-tokenizer", "the tokenizer is that of the model's folder",
                   Takes::kSwitch),
    without_effect("--cuda", kThreads, Takes::kSwitch, "--no-cuda"),
    without_effect("--num-workers", kThreads),
    without_effect("--output-dir", "results go to runs/NAME, or where `quell run --output` says"),
    without_effect("--overwrite-output", "say `quell run --overwrite`", Takes::kSwitch),
    without_effect("--do-eval", "`stages` says when the task is evaluated", Takes::kSwitch,
                   "--no-eval"),
    without_effect("--amp", kUnused, Takes::kSwitch),
    without_effect("--amp-opt-level", kUnused),
    without_effect("--ffn-weight-decay", kUnused),
    without_effect("--gamma", kUnused),
    without_effect("--margin", kUnused),
    without_effect("--save-attn", kUnused, Takes::kSwitch),
    without_effect("--tqdm", kLogging, Takes::kSwitch, "--no-tqdm"),
    without_effect("--eval-during-training", kTraining, Takes::kSwitch),
    without_effect("--eval-strategy", kTraining),
    without_effect("--eval-steps", kTraining),
    without_effect("--tb", "`record: {outliers: {}}` stores histograms of activations",
                   Takes::kSwitch),
    without_effect("--tb-logging-dir", kLogging),
    without_effect("--tb-graph", kLogging, Takes::kSwitch),
    without_effect("--logging-first-step", kLogging, Takes::kSwitch),
    without_effect("--logging-steps", kLogging),
    without_effect("--save-steps", kLogging),
    without_effect("--save-total-limit", kLogging),
    without_effect("--run-name", kLogging),
    without_effect("--load-best-model-at-end", kTraining, Takes::kSwitch),
    without_effect("--metric-for-best-model", kTraining),
    without_effect("--greater-is-better", kTraining),
    // Of training.
    {"--attn-dropout"},
    {"--hidden-dropout"},
    {"--learning-rate"},
    without_effect("--lr-scheduler-type",
                   "declared, but not handed on in the published code, where learning rates fall "
                   "linearly"),
    {"--weight-decay"},
    {"--max-grad-norm"},
    {"--num-epochs"},
    {"--max-steps"},
    {"--warmup-steps"},
    {"--gradient-accumulation-steps"},
    {"--save-model", Takes::kSwitch},
    {"--learn-ranges", Takes::kSwitch},
    {"--fix-act-ranges", Takes::kSwitch, "--no-fix-act-ranges"},
    {"--fix-weight-ranges", Takes::kSwitch, "--no-fix-weight-ranges"},
    // Of learned rounding.
    {"--adaround"},
    {"--adaround-num-samples"},
    {"--adaround-init"},
    {"--adaround-mode"},
    {"--adaround-asym", Takes::kSwitch, "--no-adaround-asym"},
    {"--adaround-include-act-func", Takes::kSwitch, "--adaround-no-act-func"},
    {"--adaround-lr"},
    {"--adaround-iters"},
    {"--adaround-weight"},
    {"--adaround-annealing", Takes::kTwoValues},
    {"--adaround-decay-type"},
    without_effect("--adaround-decay-shape", "of other decays than cosine and linear"),
    {"--adaround-decay-start"},
    {"--adaround-warmup"},
    {"--adaround-act-quant"}};

constexpr std::string_view kCommands[] = {"validate-quantized", "validate-baseline",
                                          "train-quantized", "train-baseline"};

constexpr CommandLanguage kLanguage = {kCommands, kOptions};

}  // namespace

const CommandLanguage& qualcomm_language() { return kLanguage; }

}  // namespace quell::published
