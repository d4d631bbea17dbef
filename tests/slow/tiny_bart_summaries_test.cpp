// The small trained BART on its own task, copying the first sentence of an article, from text to
// ROUGE: the figures of its authors.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "framework/json/json.h"
#include "framework/model/generate.h"
#include "tests/support/engine.h"
#include "tests/support/temporary_folder.h"

namespace quell {
namespace {

class TinyBartSummaries : public testing::Test {
 protected:
  void SetUp() override {
    const auto articles = shared_folder() / "data/summarization/xsum/test-1000.jsonl";
    if (!std::filesystem::exists(model_) || !std::filesystem::exists(articles)) {
      GTEST_SKIP() << "needs " << model_ << " and " << articles;
    }
    const std::string command = fmt::format(
        "python3 '{}' '{}' '{}'", (source_folder() / "tools/first_sentences.py").string(),
        articles.string(), (folder_ / "copying.jsonl").string());
    ASSERT_EQ(std::system(command.c_str()), 0);
  }

  std::map<std::string, double> evaluate() {
    QuantizedNetwork network(model_, "{rules: []}");
    const auto tokenizer = load_tokenizer(model_);
    const nlohmann::json config = read_json_file(model_ / "config.json");
    TaskContext context{tokenizer.get(), &config, network.model().pad_id(),
                        network.model().max_positions(), network.model().vocabulary_size()};
    GenerationOptions& options = context.generation.emplace();
    options.decoder_start_token_id = 2;
    options.eos_token_id = options.forced_eos_token_id = {2};
    options.pad_token_id = 1;
    options.forced_bos_token_id = 0;
    const auto& entry = all_plugins().tasks.get("summarization");
    const auto task = entry.create(
        read_params(entry, fmt::format("{{dev_file: {}, dev_rows: 900-999, max_source_length: 128, "
                                       "max_length: 64, batch_size: 10}}",
                                       (folder_ / "copying.jsonl").string()))
            .get(),
        context);
    const Predictor writer{{}, [&](const Batch& batch, const GenerationOptions& wanted) {
                             return generate(network.model(), batch, wanted, network.pass());
                           }};
    const Metrics metrics = task->evaluate(writer, nullptr).metrics;
    for (const auto& [name, value] : metrics) fmt::print("{} {:.4f}\n", name, value);
    return {metrics.begin(), metrics.end()};
  }

  const std::filesystem::path model_ = shared_folder() / "models/tiny-bart";
  TemporaryFolder folder_;
};

// The README of the model has four decimals.
constexpr double kRounding = 0.5e-4;

// The README does not say how long articles and summaries may be. Of the lengths tried for articles
// (64, 96, 128, 192, 248 and 256 tokens) only 128 gives its figures. Its figures for beam search
// are not compared: the settings that it names give others (see parity/generation_test.cpp for
// beams).
TEST_F(TinyBartSummaries, Greedy) {
  auto metrics = evaluate();
  EXPECT_NEAR(metrics["rouge1"], 0.9888, kRounding);
  EXPECT_NEAR(metrics["rouge2"], 0.9864, kRounding);
  EXPECT_NEAR(metrics["rougeL"], 0.9888, kRounding);
}

}  // namespace
}  // namespace quell
