// Parameters of the task multiple_choice.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "framework/base/error.h"
#include "framework/config/schema.h"
#include "tasks/data/choice_items.h"
#include "tasks/data/data_files.h"
#include "tasks/data/prompt_template.h"
#include "tasks/data/text_encoder.h"

namespace quell {

struct ChoiceParams {
  std::string name = "other";
  std::filesystem::path path;
  std::string train_file;
  std::string dev_file;
  std::vector<std::string> train_rows;
  std::vector<std::string> dev_rows;
  std::vector<std::string> context;
  std::vector<std::string> choices;
  std::string label = "{label}";
  std::string label_names;
  std::string target_delimiter = " ";
  int64_t max_length = 0;
  StartToken bos = StartToken::kTokenizer;
  std::optional<int64_t> prefix_token;
  bool share_contexts = true;
  int64_t batch_size = 16;
  std::string encoding = "utf-8";

  template <class V>
  static void describe(V& v) {
    v("name", &ChoiceParams::name,
      "whose prompts: those of lm-evaluation-harness, without examples; other: made by context, "
      "choices and label",
      one_of({"piqa", "arc_easy", "arc_challenge", "hellaswag", "winogrande", "lambada", "other"}));
    v("path", &ChoiceParams::path,
      "folder with train and dev files: .jsonl, .json, .csv, .parquet, also in shards",
      existing_folder());
    v("train_file", &ChoiceParams::train_file, "items to calibrate on, in the folder or elsewhere");
    v("dev_file", &ChoiceParams::dev_file, "items to evaluate");
    v("train_rows", &ChoiceParams::train_rows,
      "only these rows of the training file, counted from 0: 0-899; empty: all", or_single());
    v("dev_rows", &ChoiceParams::dev_rows, "the same of the evaluation file", or_single());
    v("context", &ChoiceParams::context,
      "of other: text in front of every choice, {name} and {name.part} are fields of the row: "
      "\"Question: {goal}\\nAnswer:\"; or one text for each choice, which is then scored by what "
      "follows",
      or_single());
    v("choices", &ChoiceParams::choices,
      "of other: [\"{sol1}\", \"{sol2}\"], or \"{endings}\" for a field that is a list",
      or_single());
    v("label", &ChoiceParams::label,
      "of other: number of the right choice from 0, its name in label_names, or its text");
    v("label_names", &ChoiceParams::label_names,
      "of other: a field that lists the names of the choices: \"{choices.label}\"");
    v("target_delimiter", &ChoiceParams::target_delimiter, "between context and choice");
    v("max_length", &ChoiceParams::max_length,
      "tokens that the model reads; longer contexts lose their beginning; 0: what the model takes",
      at_least(0));
    v("bos", &ChoiceParams::bos,
      "start token in front of a context: as the tokenizer does, never (lm-evaluation-harness up "
      "to 0.4.9.1), or always");
    v("prefix_token", &ChoiceParams::prefix_token,
      "id of the token that stands for an empty context; left out: the tokenizer's BOS, else its "
      "EOS",
      at_least(0));
    v("share_contexts", &ChoiceParams::share_contexts,
      "compute once what the choices of an item begin with, which is faster");
    v("batch_size", &ChoiceParams::batch_size, "items per batch", at_least(1));
    v("encoding", &ChoiceParams::encoding,
      "of text files: utf-8, latin-1, windows-1252, utf-16, ...");
  }

  static void check(const ChoiceParams& params, Report& report) {
    check_encoding(params.encoding, report);
    if (params.name != "other") {
      const auto unused = [&](const char* key, bool set) {
        if (set) report.problem(key, "has no meaning but with name: other");
      };
      unused("context", !params.context.empty());
      unused("choices", !params.choices.empty());
      unused("label_names", !params.label_names.empty());
      unused("label", params.label != ChoiceParams{}.label);
      return;
    }
    if (params.choices.empty()) {
      report.problem("choices", "is needed: name the fields with the choices, or set name");
    }
    check_templates("context", params.context, report);
    check_templates("choices", params.choices, report);
    check_templates("label", {params.label}, report);
    check_templates("label_names", {params.label_names}, report);
  }

  static void check_templates(const char* key, const std::vector<std::string>& texts,
                              Report& report) {
    for (const std::string& text : texts) {
      try {
        const PromptTemplate parsed(text, key);
      } catch (const ConfigError& error) {
        report.problem(key, error.what());
      }
    }
  }

  ChoiceRequest request(RowRanges rows) const {
    return {
        name, {context, choices, label, label_names, target_delimiter}, std::move(rows), encoding};
  }
};

}  // namespace quell
