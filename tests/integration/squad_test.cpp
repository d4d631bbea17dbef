// Question answering through the program: a new head is trained, stored, quantized and scored.
#include <gmock/gmock.h>

#include <ATen/core/grad_mode.h>
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "framework/base/file.h"
#include "framework/json/json.h"
#include "framework/text/tokenizer.h"
#include "tests/support/small_experiment.h"

namespace quell {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kQuestion = "how was it?";

std::string context_of(int i) {
  return fmt::format("film {} was {} to see", i, i % 2 == 0 ? "good" : "bad");
}

// Answers are the word behind "was".
std::string questions() {
  json paragraphs = json::array();
  for (int i = 0; i < 12; ++i) {
    const std::string answer = i % 2 == 0 ? "good" : "bad";
    paragraphs.push_back(
        {{"context", context_of(i)},
         {"qas",
          {{{"id", fmt::format("q{}", i)},
            {"question", kQuestion},
            {"answers", {{{"text", answer}, {"answer_start", i < 10 ? 11 : 12}}}}}}}});
  }
  return json{{"data", {{{"paragraphs", paragraphs}}}}}.dump();
}

std::string experiment(const TemporaryFolder& folder, const std::string& model,
                       const std::string& more) {
  return fmt::format(R"(name: questions
threads: 1
model: {{{}}}
task: {{type: squad, train_file: {}, dev_file: {}, max_length: 32, doc_stride: 4, batch_size: 4}}
calibration: {{samples: 8}}
{})",
                     model, folder.write("dev.json", questions()).string(),
                     (folder / "dev.json").string(), more);
}

struct Span {
  std::string text;
  double start = 0;
  double end = 0;
  double score() const { return start + end; }
};

// Every span of the context, the best first, from the network's own logits. Contexts are shorter
// than what a window, a list of starts and an answer may hold.
std::vector<Span> all_spans(QuantizedNetwork& network, const Tokenizer& tokenizer,
                            const std::string& context) {
  const at::NoGradGuard no_gradients;
  const Encoding encoding = tokenizer.encode(kQuestion, context, {}).at(0);
  const TokenSequence sequence{encoding.ids, encoding.type_ids};
  const Outputs outputs = network.model().forward(pack({&sequence, 1}), network.pass());
  const auto logit = [&](const char* name, size_t token) {
    return outputs.at(name)[static_cast<int64_t>(token)].item<double>();
  };
  std::vector<Span> spans;
  const size_t tokens = encoding.ids.size();
  for (size_t start = 0; start < tokens; ++start) {
    for (size_t end = start; end < tokens; ++end) {
      if (encoding.sequence[start] != 1 || encoding.sequence[end] != 1) continue;
      const auto from = static_cast<size_t>(encoding.offsets[start].first);
      const auto to = static_cast<size_t>(encoding.offsets[end].second);
      spans.push_back({context.substr(from, to - from), logit("start_logits", start),
                       logit("end_logits", end)});
    }
  }
  std::sort(spans.begin(), spans.end(),
            [](const Span& a, const Span& b) { return a.score() > b.score(); });
  return spans;
}

// Logits of sequences alone and in batches differ in their last bits, so nearly equal spans may
// change places.
void expect_best(const json& found, std::vector<Span> spans, double tolerance) {
  spans.resize(std::min<size_t>(spans.size(), 20));
  ASSERT_EQ(found.size(), spans.size());
  double sum = 0;
  for (const Span& span : spans) sum += std::exp(span.score());
  for (size_t i = 0; i < spans.size(); ++i) {
    const double score = found[i]["score"];
    EXPECT_NEAR(score, spans[i].score(), tolerance) << i;
    EXPECT_NEAR(found[i]["probability"], std::exp(spans[i].score()) / sum, tolerance) << i;
    EXPECT_TRUE(std::any_of(spans.begin(), spans.end(), [&](const Span& span) {
      return found[i]["text"] == span.text &&
             std::abs(found[i]["start_logit"].get<double>() - span.start) <= tolerance &&
             std::abs(found[i]["end_logit"].get<double>() - span.end) <= tolerance;
    })) << found[i];
  }
}

TEST(Squad, ANewHeadIsTrainedStoredQuantizedAndScored) {
  const TemporaryFolder folder;
  const auto run = [&](const std::string& name, const std::string& yaml) {
    folder.write(name + ".yaml", yaml);
    return run_quell({"run", name + ".yaml", "--output", name}, folder.path());
  };
  const std::string classifier = fmt::format("path: {}", (quickstart() / "model").string());
  const ProgramResult refused =
      run("refused", experiment(folder, classifier, "pipeline: []\nstages: [float]\n"));
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.errors, HasSubstr("head: question_answering"));

  const ProgramResult trained =
      run("trained", experiment(folder, classifier + ", head: question_answering",
                                R"(pipeline:
  - qat: {quantize: false, epochs: 12, learning_rate: 1.0e-3, dropout: 0}
stages: [transformed]
)"));
  ASSERT_EQ(trained.exit_code, 0) << trained.errors;
  EXPECT_THAT(trained.errors, HasSubstr("12 questions are trained on and evaluated"));
  const double f1 = read_json_file(folder / "trained/metrics.json")["stages"]["transformed"]["f1"];
  EXPECT_GT(f1, 0.8);

  const ProgramResult quantized =
      run("quantized", experiment(folder, "path: trained/model", R"(quant:
  include: placements/outlier_suppression_qa.yaml
  rules: [{sites: ["weight:*", "activation:*"], bits: 8}]
stages: [float, quantized]
)"));
  ASSERT_EQ(quantized.exit_code, 0) << quantized.errors;
  EXPECT_THAT(read_file(folder / "quantized/predictions.jsonl"), Not(HasSubstr("nbest")));
  const json metrics = read_json_file(folder / "quantized/metrics.json")["stages"];
  // The same weights, from float32 and back.
  EXPECT_EQ(metrics["float"]["f1"], f1);
  for (const std::string stage : {"float", "quantized"}) {
    const ProgramResult score =
        run_quell({"score", "squad", "--data", "dev.json", "--predictions",
                   "quantized/predictions.jsonl", "--stage", stage, "--json"},
                  folder.path());
    ASSERT_EQ(score.exit_code, 0) << score.errors;
    EXPECT_EQ(json::parse(score.output), metrics[stage]);
  }

  // The same run with n-best lists gives the same answers.
  const ProgramResult listed = run_quell(
      {"run", "quantized.yaml", "--output", "listed", "--set", "task.nbest=true"}, folder.path());
  ASSERT_EQ(listed.exit_code, 0) << listed.errors;
  EXPECT_EQ(read_json_file(folder / "listed/metrics.json")["stages"], metrics);
  QuantizedNetwork network(folder / "trained/model", "{rules: []}");
  const auto tokenizer = load_tokenizer(folder / "trained/model");
  int answers = 0, others = 0;
  read_json_lines(folder / "listed/predictions.jsonl", [&](const json& line, int64_t number) {
    SCOPED_TRACE(number);
    const auto spans = all_spans(network, *tokenizer, context_of(line["index"]));
    // 1e-4: float32 logits of up to 10, added in another order.
    expect_best(line["nbest"]["float"], spans, 1e-4);
    for (const char* stage : {"float", "quantized"}) {
      EXPECT_EQ(line["nbest"][stage].size(), 20u);
      EXPECT_EQ(line["nbest"][stage][0]["text"], line["texts"][stage]);
      ++answers;
    }
    others += line["nbest"]["float"] != line["nbest"]["quantized"];
  });
  EXPECT_EQ(answers, 24);
  EXPECT_GT(others, 0);
}

}  // namespace
}  // namespace quell
