// Parameters of the task summarization.
#pragma once

#include <fmt/format.h>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "framework/config/schema.h"
#include "framework/model/generation.h"
#include "tasks/data/summary_data.h"
#include "tasks/data/summary_score.h"

namespace quell {

struct SummarizationParams {
  std::string name = "other";
  std::filesystem::path path;
  std::string train_file;
  std::string dev_file;
  std::vector<std::string> train_rows;
  std::vector<std::string> dev_rows;
  std::string text_column;
  std::string summary_column;
  std::string source_prefix;
  int64_t max_source_length = 1024;
  int64_t batch_size = 4;
  std::optional<int64_t> num_beams;
  std::optional<int64_t> max_length;
  std::optional<int64_t> min_length;
  std::optional<int64_t> max_new_tokens;
  std::optional<int64_t> min_new_tokens;
  std::optional<double> length_penalty;
  std::optional<int64_t> no_repeat_ngram_size;
  std::optional<EarlyStopping> early_stopping;
  std::optional<int64_t> num_return_sequences;
  bool use_stemmer = true;
  bool split_sentences = true;
  bool precision_and_recall = false;
  std::string encoding = "utf-8";

  template <class V>
  static void describe(V& v) {
    v("name", &SummarizationParams::name,
      "cnn_dailymail: 4 beams, max_length 142, xsum: 6 beams, max_length 62, as published; other: "
      "the model's own settings",
      one_of({"cnn_dailymail", "xsum", "other"}));
    v("path", &SummarizationParams::path,
      "folder with train and dev files: .jsonl, .json, .csv, .parquet, also in shards",
      existing_folder());
    v("train_file", &SummarizationParams::train_file, "training file, in the folder or elsewhere");
    v("dev_file", &SummarizationParams::dev_file, "evaluation file");
    v("train_rows", &SummarizationParams::train_rows,
      "only these rows of the training file, counted from 0: 0-899; empty: all", or_single());
    v("dev_rows", &SummarizationParams::dev_rows, "the same of the evaluation file", or_single());
    v("text_column", &SummarizationParams::text_column,
      "of the articles; empty: document, article or text");
    v("summary_column", &SummarizationParams::summary_column,
      "of the references; empty: summary, highlights or y");
    v("source_prefix", &SummarizationParams::source_prefix, "put before every article");
    v("max_source_length", &SummarizationParams::max_source_length,
      "longer articles are cut to so many tokens", at_least(4));
    v("batch_size", &SummarizationParams::batch_size, "articles per batch", at_least(1));
    v("num_beams", &SummarizationParams::num_beams, "1: greedy search", at_least(1));
    v("max_length", &SummarizationParams::max_length,
      "tokens of a summary, with the first one that the decoder is given", at_least(2));
    v("min_length", &SummarizationParams::min_length, "a summary does not end before", at_least(0));
    v("max_new_tokens", &SummarizationParams::max_new_tokens,
      "the same without the first one; wins over max_length", at_least(1));
    v("min_new_tokens", &SummarizationParams::min_new_tokens,
      "a summary has at least so many tokens behind the first one; wins over min_length",
      at_least(0));
    v("length_penalty", &SummarizationParams::length_penalty,
      "beam search ranks by log-probability / length^penalty");
    v("no_repeat_ngram_size", &SummarizationParams::no_repeat_ngram_size,
      "no n-gram of so many tokens appears twice; 0: any may", at_least(0));
    v("early_stopping", &SummarizationParams::early_stopping,
      "end beam search once there are as many finished summaries as beams (true), once no better "
      "one is likely (false) or possible (never)");
    v("num_return_sequences", &SummarizationParams::num_return_sequences,
      "so many summaries of each article into predictions.jsonl, the best first; metrics are of "
      "the best",
      at_least(1));
    v("use_stemmer", &SummarizationParams::use_stemmer, "compare stems of words");
    v("split_sentences", &SummarizationParams::split_sentences,
      "rougeLsum: find the sentences inside of lines, too; false: every line is one");
    v("precision_and_recall", &SummarizationParams::precision_and_recall,
      "show those of each ROUGE beside its F1");
    v("encoding", &SummarizationParams::encoding,
      "of text files: utf-8, latin-1, windows-1252, utf-16, ...");
  }

  static void check(const SummarizationParams& params, Report& report) {
    check_encoding(params.encoding, report);
  }

  SummaryScoring scoring() const { return {use_stemmer, split_sentences, precision_and_recall}; }

  SummaryRequest request(const std::string& split) const {
    const bool train = split == "train";
    return {text_column,
            summary_column,
            /*needs_articles=*/true,
            /*needs_summaries=*/!train,
            RowRanges(train ? train_rows : dev_rows, fmt::format("task.{}_rows", split)),
            /*keeps_incomplete=*/false,
            encoding};
  }

  // The settings of the model, then those of the data set, then those that the experiment names.
  GenerationOptions generation(GenerationOptions options) const {
    if (name != "other") {
      const bool long_summaries = name == "cnn_dailymail";
      options.num_beams = long_summaries ? 4 : 6;
      options.max_length = long_summaries ? 142 : 62;
    }
    options.num_beams = num_beams.value_or(options.num_beams);
    options.max_length = max_length.value_or(options.max_length);
    options.min_length = min_length.value_or(options.min_length);
    if (max_new_tokens) options.max_new_tokens = max_new_tokens;
    if (min_new_tokens) options.min_new_tokens = min_new_tokens;
    options.length_penalty = length_penalty.value_or(options.length_penalty);
    options.no_repeat_ngram_size = no_repeat_ngram_size.value_or(options.no_repeat_ngram_size);
    options.early_stopping = early_stopping.value_or(options.early_stopping);
    options.num_return_sequences = num_return_sequences.value_or(options.num_return_sequences);
    return with_new_tokens(options);
  }

  // What the experiment says in vain, since a setting of the model wins as in the library.
  std::vector<std::string> overruled(const GenerationOptions& model) const {
    std::vector<std::string> notes;
    const auto check = [&](const char* length, bool said, const char* tokens, bool wins) {
      if (!said || !wins) return;
      notes.push_back(fmt::format(
          "task.{0} has no effect: the model sets {1}, which wins; set task.{1}", length, tokens));
    };
    check("max_length", max_length || name != "other", "max_new_tokens",
          model.max_new_tokens && !max_new_tokens);
    check("min_length", min_length.has_value(), "min_new_tokens",
          model.min_new_tokens && !min_new_tokens);
    return notes;
  }
};

}  // namespace quell
