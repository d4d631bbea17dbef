// A real language model, SmolLM2-135M-Instruct and two cuts of it, against transformers and
// llama.cpp. The folders smollm2-135m, smollm2-layers4 and smollm2-small, made by
// shared/tools/make_smollm2.py, are looked for where the variable QUELL_SMOLLM2 says, else in
// shared/models.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <cmath>
#include <cstdlib>

#include "framework/io/safetensors.h"
#include "framework/json/json.h"
#include "framework/text/tokenizer.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"

namespace quell {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Largest difference of two float32 computations of these logits (the golden's README).
constexpr double kLogitTolerance = 5e-4;

fs::path golden_folder() { return shared_folder() / "goldens/smollm2"; }

fs::path folder_of(const std::string& model) {
  const char* named = std::getenv("QUELL_SMOLLM2");
  return (named != nullptr ? fs::path(named) : shared_folder() / "models") /
         (model == "full" ? "smollm2-135m" : "smollm2-" + model);
}

class SmolLm2 : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    for (const fs::path& path : {folder_of(GetParam()), golden_folder()}) {
      if (!fs::exists(path)) GTEST_SKIP() << "needs " << path;
    }
    golden_ = read_json_file(golden_folder() / "smollm2.json");
  }
  at::Tensor stored(const std::string& prompt, const std::string& key) const {
    return SafetensorsFile(golden_folder() / "smollm2.safetensors")
        .read(fmt::format("{}.{}.{}", GetParam(), prompt, key));
  }
  json golden_;
};

std::vector<int64_t> values(const at::Tensor& tensor) {
  const at::Tensor all = tensor.to(at::kLong).contiguous();
  return {all.const_data_ptr<int64_t>(), all.const_data_ptr<int64_t>() + all.numel()};
}

TEST_P(SmolLm2, LogitsAndResidualStreamAreThoseOfTransformers) {
  QuantizedNetwork network(folder_of(GetParam()), "{rules: []}");
  for (const char* prompt : {"short", "long"}) {
    SCOPED_TRACE(prompt);
    const at::NoGradGuard no_gradients;
    const std::vector<TokenSequence> sequence = {{values(stored(prompt, "ids"))}};
    const ModelInput input = network.model().bind(pack(sequence));
    const Pass pass = network.pass();
    const at::Tensor hidden = stored(prompt, "hidden");  // [layers + 1, positions, features]
    const int64_t tokens = input.batch.tokens(), layers = hidden.size(0) - 1;
    const at::Tensor chosen = at::tensor(std::vector<int64_t>{0, tokens / 2, tokens - 1});
    State state;
    std::vector<at::Tensor> streams;
    for (const Segment& segment : network.model().segments()) {
      segment.run(state, input, pass);
      if (segment.name != "head") streams.push_back(state.rows.values.index_select(0, chosen));
    }
    // Embedding, layers, norm; the golden has the norm's output in place of the last layer's.
    ASSERT_EQ(std::ssize(streams), layers + 2);
    streams.erase(streams.end() - 2);
    for (int64_t i = 0; i <= layers; ++i) {
      const double largest = hidden[i].abs().max().item<double>();
      EXPECT_LE(max_difference(streams[i], hidden[i]), 2e-5 * largest) << "layer " << i;
    }
    const at::Tensor logits = state.outputs.at("logits");
    const at::Tensor sums = at::logsumexp(logits.to(at::kDouble), {1});
    EXPECT_LE(max_difference(sums, stored(prompt, "logsumexp")), kLogitTolerance);
    EXPECT_EQ(values(logits.argmax(1)), values(stored(prompt, "argmax")));
    const at::Tensor sample = stored(prompt, "sample_ids").to(at::kLong);
    EXPECT_LE(max_difference(logits.index_select(1, sample), stored(prompt, "sample_logits")),
              kLogitTolerance);
    const at::Tensor top = stored(prompt, "top_ids").to(at::kLong);
    const at::Tensor rows = logits.index_select(0, stored(prompt, "positions").to(at::kLong));
    EXPECT_LE(max_difference(rows.gather(1, top), stored(prompt, "top_logits")), kLogitTolerance);
    const at::Tensor next = input.batch.token_ids.slice(0, 1).unsqueeze(1);
    const at::Tensor nll =
        sums.slice(0, 0, tokens - 1) - logits.slice(0, 0, tokens - 1).gather(1, next).squeeze(1);
    EXPECT_LE(max_difference(nll, stored(prompt, "nll")), 2 * kLogitTolerance);
  }
}

// Each id that was written greedily is the likeliest one behind those before it.
TEST_P(SmolLm2, GreedyIdsAreTheLikeliest) {
  QuantizedNetwork network(folder_of(GetParam()), "{rules: []}");
  for (const char* prompt : {"short", "long"}) {
    std::vector<int64_t> ids = values(stored(prompt, "ids"));
    const auto first = std::ssize(ids);
    const json& greedy = golden_["models"][GetParam()]["prompts"][prompt]["greedy"];
    for (const json& id : greedy) ids.push_back(id);
    const std::vector<TokenSequence> sequence = {{ids}};
    const auto found = values(network.logits(pack(sequence), false, false).argmax(1));
    for (size_t i = 0; i < greedy.size(); ++i) EXPECT_EQ(found[first - 1 + i], greedy[i]) << i;
  }
}

TEST_P(SmolLm2, TokenizerGivesTheIdsOfTheLibrary) {
  const auto tokenizer = load_tokenizer(folder_of(GetParam()));
  const bool small = std::string(GetParam()) == "small";
  for (const json& one : golden_["tokenizer"]) {
    SCOPED_TRACE(one["name"]);
    const Encoding found =
        tokenizer->encode(one["text"].get<std::string>(), std::nullopt, {}).at(0);
    EXPECT_EQ(json(found.ids), one[small ? "ids_vocab_4096" : "ids"]);
    if (small) continue;
    // The library loses count of characters behind bytes that the vocabulary lacks.
    if (one["name"] != "absent byte inside a piece") {
      EXPECT_EQ(json(found.offsets), one["offsets"]);
    }
    EXPECT_EQ(tokenizer->decode(found.ids, false), one["decoded"]);
    EXPECT_EQ(tokenizer->decode(found.ids, true), one["decoded_skip"]);
  }
}

TEST_P(SmolLm2, WindowsOfWikitextHaveTheLossesOfTransformers) {
  const fs::path text = shared_folder() / "data/lm/wikitext-2/test.txt";
  if (!fs::exists(text)) GTEST_SKIP() << "needs " << text;
  // The float perplexity of the cuts is about 1e8: their losses are 18 nats a token.
  for (const auto& [name, expected] : golden_["perplexity"][GetParam()].items()) {
    if (!expected.contains("nll")) continue;  // of llama.cpp
    SCOPED_TRACE(name);
    const std::string start = name == "bos_0"   ? ", bos_in_every_window: true, prefix_token: 0"
                              : name == "bos_1" ? ", bos_in_every_window: true"
                                                : "";
    // All of one case, and the first ones of the others: a window takes a second or two.
    const size_t all = expected["nll"].size(), windows = start.empty() ? all : 10;
    const Experiment run(fmt::format(
        "name: smollm2\nmodel: {{path: {}}}\ntask: {{type: perplexity, dev_file: {}, unit: whole, "
        "length: 512, max_windows: {}{}}}\nstages: [float]\npipeline: []\nthreads: 1\n",
        folder_of(GetParam()).string(), text.string(), windows, start));
    const auto& predictions = run.record().stages.at(0).evaluation.predictions;
    ASSERT_EQ(predictions.size(), windows);
    for (size_t i = 0; i < windows; ++i) {
      const double nll = expected["nll"][i];
      EXPECT_NEAR(-predictions[i].outputs.at("log_likelihood").at(0), nll, 2e-5 * nll) << i;
    }
    if (windows < all) continue;
    const double perplexity = expected["ppl"];
    EXPECT_NEAR(run.metric(Stage::kFloat, "perplexity"), perplexity, 2e-5 * perplexity);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, SmolLm2, testing::Values("full", "layers4", "small"));

}  // namespace
}  // namespace quell
