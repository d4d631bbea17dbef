// Parameters of the task text_generation.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "framework/config/schema.h"
#include "framework/model/generation.h"
#include "tasks/data/data_files.h"
#include "tasks/data/summary_data.h"
#include "tasks/data/summary_score.h"
#include "tasks/data/text_encoder.h"

namespace quell {

struct TextGenerationParams {
  std::filesystem::path path;
  std::string train_file;
  std::string dev_file;
  std::string prompt_column = "prompt";
  std::string reference_column;
  StartToken bos = StartToken::kTokenizer;
  std::optional<int64_t> prefix_token;
  int64_t max_new_tokens = 64;
  std::optional<int64_t> min_new_tokens;
  std::optional<int64_t> num_beams;
  std::optional<double> length_penalty;
  std::optional<double> repetition_penalty;
  std::optional<int64_t> no_repeat_ngram_size;
  std::optional<EarlyStopping> early_stopping;
  std::optional<int64_t> num_return_sequences;
  int64_t batch_size = 8;
  std::string encoding = "utf-8";

  template <class V>
  static void describe(V& v) {
    using Params = TextGenerationParams;
    v("path", &Params::path, "folder with train and dev files: .jsonl, .json, .csv, .parquet",
      existing_folder());
    v("train_file", &Params::train_file, "prompts to calibrate on, in the folder or elsewhere");
    v("dev_file", &Params::dev_file, "prompts to go on from");
    v("prompt_column", &Params::prompt_column, "of the prompts", non_empty());
    v("reference_column", &Params::reference_column,
      "of texts to compare with; empty: nothing is compared");
    v("bos", &Params::bos,
      "start token in front of a prompt: as the tokenizer does, never, always");
    v("prefix_token", &Params::prefix_token,
      "id of the start token; left out: the tokenizer's BOS, else its EOS", at_least(0));
    v("max_new_tokens", &Params::max_new_tokens, "tokens behind the prompt, at most", at_least(1));
    v("min_new_tokens", &Params::min_new_tokens, "a text does not end before", at_least(0));
    v("num_beams", &Params::num_beams, "1: greedy search", at_least(1));
    v("length_penalty", &Params::length_penalty,
      "beam search ranks by log-probability / length^penalty");
    v("repetition_penalty", &Params::repetition_penalty,
      "above 1: rather not what stands there before, the prompt included", greater_than(0));
    v("no_repeat_ngram_size", &Params::no_repeat_ngram_size,
      "no n-gram of so many tokens appears twice, the prompt included; 0: any may", at_least(0));
    v("early_stopping", &Params::early_stopping,
      "end beam search once there are as many finished texts as beams (true), once no better one "
      "is likely (false) or possible (never)");
    v("num_return_sequences", &Params::num_return_sequences,
      "so many texts of each prompt into predictions.jsonl, the best first; metrics are of the "
      "best",
      at_least(1));
    v("batch_size", &Params::batch_size, "prompts per batch", at_least(1));
    v("encoding", &Params::encoding, "of text files: utf-8, latin-1, windows-1252, utf-16, ...");
  }

  static void check(const TextGenerationParams& params, Report& report) {
    check_encoding(params.encoding, report);
    if (params.min_new_tokens.value_or(0) > params.max_new_tokens) {
      report.problem("min_new_tokens", "is more than max_new_tokens");
    }
  }

  SummaryRequest request() const {
    return {prompt_column,
            reference_column,
            /*needs_articles=*/true,
            /*needs_summaries=*/!reference_column.empty(),
            {},
            /*keeps_incomplete=*/false,
            encoding};
  }

  // The settings of the model, then those that the experiment names.
  GenerationOptions generation(GenerationOptions options) const {
    options.max_new_tokens = max_new_tokens;
    if (min_new_tokens) options.min_new_tokens = min_new_tokens;
    options.num_beams = num_beams.value_or(options.num_beams);
    options.length_penalty = length_penalty.value_or(options.length_penalty);
    options.repetition_penalty = repetition_penalty.value_or(options.repetition_penalty);
    options.no_repeat_ngram_size = no_repeat_ngram_size.value_or(options.no_repeat_ngram_size);
    options.early_stopping = early_stopping.value_or(options.early_stopping);
    options.num_return_sequences = num_return_sequences.value_or(options.num_return_sequences);
    return options;
  }
};

}  // namespace quell
