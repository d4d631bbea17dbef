#include "tasks/data/glue_spec.h"

#include <fmt/format.h>
#include <algorithm>

#include "framework/base/error.h"
#include "framework/base/suggest.h"

namespace quell {
namespace {

// GLUE publishes the mean of the two metrics of MRPC and QQP (F1, accuracy) and of STS-B.
std::vector<GlueSpec> make_specs() {
  const std::vector<std::string> entailment = {"entailment", "not_entailment"};
  const std::vector<std::string> both = {"accuracy", "f1"};
  return {
      {.name = "cola",
       .text_columns = {"sentence"},
       .label_columns = {"label"},
       .label_names = {"unacceptable", "acceptable"},
       .metrics = {"matthews_correlation", "accuracy"},
       .headerless_columns = {"source", "label", "mark", "sentence"}},
      {.name = "sst2",
       .text_columns = {"sentence"},
       .label_columns = {"label"},
       .label_names = {"negative", "positive"},
       .metrics = {"accuracy"}},
      {.name = "mrpc",
       .text_columns = {"#1 String", "sentence1"},
       .pair_columns = {"#2 String", "sentence2"},
       .label_columns = {"Quality", "label"},
       .label_names = {"not_equivalent", "equivalent"},
       .metrics = both},
      {.name = "stsb",
       .text_columns = {"sentence1"},
       .pair_columns = {"sentence2"},
       .label_columns = {"score", "label"},
       .metrics = {"pearson", "spearman"}},
      {.name = "qqp",
       .text_columns = {"question1"},
       .pair_columns = {"question2"},
       .label_columns = {"is_duplicate", "label"},
       .label_names = {"not_duplicate", "duplicate"},
       .metrics = both,
       .headerless_columns = {"id", "qid1", "qid2", "question1", "question2", "is_duplicate"},
       .has_malformed_rows = true},
      {.name = "mnli",
       .text_columns = {"sentence1", "premise"},
       .pair_columns = {"sentence2", "hypothesis"},
       .label_columns = {"gold_label", "label"},
       .label_names = {"entailment", "neutral", "contradiction"},
       .metrics = {"accuracy"}},
      {.name = "qnli",
       .text_columns = {"question"},
       .pair_columns = {"sentence"},
       .label_columns = {"label"},
       .label_names = entailment,
       .metrics = {"accuracy"}},
      {.name = "rte",
       .text_columns = {"sentence1"},
       .pair_columns = {"sentence2"},
       .label_columns = {"label"},
       .label_names = entailment,
       .metrics = {"accuracy"}},
      {.name = "wnli",
       .text_columns = {"sentence1"},
       .pair_columns = {"sentence2"},
       .label_columns = {"label"},
       .label_names = {"not_entailment", "entailment"},
       .metrics = {"accuracy"}},
  };
}

const std::vector<GlueSpec>& specs() {
  static const std::vector<GlueSpec> all = make_specs();
  return all;
}

}  // namespace

const std::vector<std::string>& glue_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> result;
    for (const GlueSpec& spec : specs()) result.push_back(spec.name);
    return result;
  }();
  return names;
}

const GlueSpec& glue_spec(const std::string& name) {
  for (const GlueSpec& spec : specs()) {
    if (spec.name == name) return spec;
  }
  throw ConfigError(
      fmt::format("task.name: unknown GLUE task \"{}\"{}", name, did_you_mean(name, glue_names())));
}

}  // namespace quell
