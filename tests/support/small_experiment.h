// Experiments that the program runs in a second: the tiny golden BERT on given tokens, and the
// quick start on a few sentences; and what to compare of their runs.
#pragma once

#include <fmt/format.h>
#include <filesystem>
#include <string>

#include "tests/support/engine.h"
#include "tests/support/program.h"
#include "tests/support/temporary_folder.h"

namespace quell {

// Files of a run folder that an equal run writes with the same bytes.
inline constexpr const char* kRepeatable[] = {"config.resolved.yaml", "metrics.json", "results.h5",
                                              "predictions.jsonl"};

inline std::filesystem::path tiny_model() { return test_data() / "parity/outlier_suppression"; }
inline std::filesystem::path quickstart() { return source_folder() / "experiments/quickstart"; }

// The experiment on `model`, which may be a damaged copy of tiny_model().
inline std::string tokens_experiment(const std::filesystem::path& model = tiny_model()) {
  return fmt::format(R"(name: tiny
threads: 1
model: {{path: {0}}}
task:
  type: tokens
  path: {1}
  keys: "b{{}}.input_ids"
  calibration_batches: [0, 1]
  evaluation_batches: [2, 4]
quant:
  include: placements/outlier_suppression.yaml
  rules:
    - {{sites: ["weight:*"], bits: 6, symmetric: true, granularity: channel, observer: minmax}}
    - {{sites: ["activation:*"], bits: 8, observer: avg_minmax}}
)",
                     model.string(), (tiny_model() / "inputs.safetensors").string());
}

// A sweep of four cells over glue_experiment() in the file few.yaml, into the folder out.
inline constexpr const char* kFewCells = R"(
base: few.yaml
output: out
grid:
  rules[0].bits: [6, 3]
  seed: [1, 2]
set: {stages: [float, quantized]}
)";

// SST-2 with 12 sentences in `folder`/dev.tsv, which the caller may replace, and 20 for
// calibration.
inline std::string glue_experiment(const TemporaryFolder& folder,
                                   const std::filesystem::path& model = quickstart() / "model") {
  folder.write("data/dev.tsv",
               "sentence\tlabel\n"
               "a charming and often affecting journey\t1\n"
               "bleak and desperate\t0\n"
               "one of the best films of the year\t1\n"
               "the plot is dull and goes nowhere\t0\n"
               "warm , funny and smart\t1\n"
               "a waste of good actors\t0\n"
               "i would see it again\t1\n"
               "it never comes to life\t0\n"
               "a quiet , moving film\t1\n"
               "tiresome from start to end\t0\n"
               "the music alone is worth it\t1\n"
               "nobody laughed\t0\n");
  std::string train = "sentence\tlabel\n";
  for (int i = 0; i < 20; ++i) {
    train += fmt::format("sentence number {} is {}\t{}\n", i, i % 2 ? "good" : "bad", i % 2);
  }
  folder.write("data/train.tsv", train);
  return fmt::format(R"(name: few-sentences
threads: 1
model: {{path: {}}}
task: {{type: glue, name: sst2, path: {}, max_length: 32, batch_size: 4}}
calibration: {{samples: 12}}
quant:
  include: placements/outlier_suppression.yaml
  rules:
    - {{sites: ["weight:*", "activation:*"], bits: 6}}
)",
                     model.string(), (folder / "data").string());
}

}  // namespace quell
