// Greedy and beam search against Hugging Face `generate`, on the small trained BART.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "framework/json/json.h"
#include "framework/model/generate.h"
#include "tests/support/engine.h"

namespace quell {
namespace {

using nlohmann::json;

GenerationOptions options_from(json settings) {
  GenerationOptions options;
  const auto integer = [&](const char* key, int64_t& target) {
    if (!settings.contains(key)) return;
    target = settings[key].is_null() ? -1 : settings[key].get<int64_t>();
  };
  integer("num_beams", options.num_beams);
  integer("num_return_sequences", options.num_return_sequences);
  integer("max_length", options.max_length);
  integer("min_length", options.min_length);
  integer("no_repeat_ngram_size", options.no_repeat_ngram_size);
  integer("decoder_start_token_id", options.decoder_start_token_id);
  integer("pad_token_id", options.pad_token_id);
  integer("forced_bos_token_id", options.forced_bos_token_id);
  const auto ids = [&](const char* key, std::vector<int64_t>& target) {
    if (settings.contains(key) && !settings[key].is_null()) target = {settings[key].get<int64_t>()};
  };
  ids("eos_token_id", options.eos_token_id);
  ids("forced_eos_token_id", options.forced_eos_token_id);
  options.length_penalty = settings["length_penalty"];
  if (settings["early_stopping"] == true) options.early_stopping = EarlyStopping::kTrue;
  if (settings["early_stopping"] == "never") options.early_stopping = EarlyStopping::kNever;
  return options;
}

struct Result {
  std::vector<int64_t> ids;
  double score;
};

// The golden's results of one article: one, or as many as were asked for.
std::vector<Result> results_of(const json& golden) {
  if (!golden["ids"][0].is_array()) return {{golden["ids"], golden.value("score", 0.0)}};
  std::vector<Result> results;
  for (size_t i = 0; i < golden["ids"].size(); ++i) {
    results.push_back({golden["ids"][i], golden["score"][i]});
  }
  return results;
}

// A logit in float32 is off by up to 2e-5 (models/tiny-bart/README.md), and a score is a sum over
// tokens, divided by their number to the power of the penalty.
double score_tolerance(const GeneratedSequence& sequence, const GenerationOptions& options) {
  const double length = static_cast<double>(sequence.ids.size()) - 1;
  return 2e-5 * std::pow(length, 1 - options.length_penalty);
}

class Generation : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(shared_folder() / "goldens/generation")) {
      GTEST_SKIP() << "needs ../shared/goldens/generation";
    }
  }
};

TEST_P(Generation, WritesTheIdsOfHuggingFace) {
  const json golden =
      read_json_file(shared_folder() / "goldens/generation" / (std::string(GetParam()) + ".json"));
  QuantizedNetwork network(shared_folder() / "models/tiny-bart", "{rules: []}");
  if (std::string(GetParam()) == "beam_bart_soft") {
    for (auto& [name, tensor] : network.model().parameters()) {
      if (name.starts_with("model.decoder.layers.2.final_layer_norm.")) tensor.mul_(0.25);
    }
  }
  std::vector<TokenSequence> articles;
  for (const json& article : golden["articles"]) articles.push_back({article["input_ids"], {}});
  for (const auto& [name, setting] : golden["settings"].items()) {
    json settings = golden["base"];
    settings.update(setting);
    const GenerationOptions options = options_from(settings);
    int64_t compared = 0;
    for (size_t begin = 0; begin < articles.size(); begin += 8) {
      const size_t count = std::min<size_t>(8, articles.size() - begin);
      const Batch batch = pack(std::span(articles).subspan(begin, count));
      const auto written = generate(network.model(), batch, options, network.pass());
      for (size_t i = 0; i < count; ++i) {
        const json& one = golden["results"][name][begin + i];
        if (!one["stable"]) continue;
        const std::vector<Result> expected = results_of(one);
        for (size_t k = 0; k < expected.size(); ++k) {
          const auto& found = written.at(i * expected.size() + k);
          EXPECT_EQ(found.ids, expected[k].ids)
              << name << ", article " << begin + i << ", result " << k;
          EXPECT_NEAR(found.score, expected[k].score, score_tolerance(found, options))
              << name << ", article " << begin + i << ", result " << k;
          ++compared;
        }
      }
    }
    EXPECT_GE(compared, static_cast<int64_t>(articles.size())) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, Generation,
                         testing::Values("beam_bart", "beam_bart_hard", "beam_bart_soft"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace quell
