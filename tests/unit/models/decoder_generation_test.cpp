// What decoders write behind prompts: the ids of Hugging Face transformers
// (tests/data/models/*/generation.json), prompt by prompt and together.
#include <gtest/gtest.h>

#include <ATen/core/grad_mode.h>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/json/json.h"
#include "framework/model/generate.h"
#include "tests/support/engine.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using nlohmann::json;
using Ids = std::vector<int64_t>;

GenerationOptions options_of(const json& golden, const json& settings) {
  GenerationOptions options;
  options.eos_token_id = {golden["eos_token_id"].get<int64_t>()};
  options.pad_token_id = golden["pad_token_id"].get<int64_t>();
  if (settings.contains("max_new_tokens")) options.max_new_tokens = settings["max_new_tokens"];
  if (settings.contains("min_new_tokens")) options.min_new_tokens = settings["min_new_tokens"];
  options.max_length = settings.value("max_length", options.max_length);
  options.num_beams = settings.value("num_beams", options.num_beams);
  options.num_return_sequences = settings.value("num_return_sequences", int64_t{1});
  options.length_penalty = settings.value("length_penalty", 1.0);
  options.repetition_penalty = settings.value("repetition_penalty", 1.0);
  options.no_repeat_ngram_size = settings.value("no_repeat_ngram_size", int64_t{0});
  options.encoder_no_repeat_ngram_size = settings.value("encoder_no_repeat_ngram_size", int64_t{0});
  if (settings.value("early_stopping", false)) options.early_stopping = EarlyStopping::kTrue;
  return options;
}

class DecoderGeneration : public testing::TestWithParam<const char*> {};

TEST_P(DecoderGeneration, WritesWhatHuggingFaceWrites) {
  const at::NoGradGuard no_gradients;
  const auto folder = test_data() / "models" / GetParam();
  const json golden = read_json_file(folder / "generation.json");
  QuantizedNetwork network(folder, "{rules: []}");
  int64_t compared = 0;
  for (const json& entry : golden["cases"]) {
    SCOPED_TRACE(entry["settings"].dump());
    const GenerationOptions options = options_of(golden, entry["settings"]);
    const auto wanted = static_cast<size_t>(options.num_return_sequences);
    const Pass pass = network.pass();
    // The library goes on beyond the positions of a model.
    std::vector<TokenSequence> prompts;
    std::vector<json> texts;
    for (size_t i = 0; i < golden["prompts"].size(); ++i) {
      const auto ids = golden["prompts"][i].get<Ids>();
      const int64_t longest =
          options.max_new_tokens ? std::ssize(ids) + *options.max_new_tokens : options.max_length;
      if (longest > network.model().max_positions()) continue;
      prompts.push_back({ids});
      texts.push_back(entry["texts"][i]);
    }
    // Those of equal length share their steps.
    const auto together = generate(network.model(), pack(prompts), options, pass);
    ASSERT_EQ(together.size(), prompts.size() * wanted);
    for (size_t i = 0; i < prompts.size(); ++i) {
      SCOPED_TRACE(i);
      const auto alone = generate(network.model(), pack({&prompts[i], 1}), options, pass);
      for (size_t j = 0; j < wanted; ++j) {
        Ids expected = texts[i][j].get<Ids>();
        // The library fills all texts of a prompt up to the longest.
        while (expected.size() > alone[j].ids.size() && expected.back() == options.pad_token_id) {
          expected.pop_back();
        }
        EXPECT_EQ(alone[j].ids, expected);
        EXPECT_EQ(together[i * wanted + j].ids, expected);
        ++compared;
      }
    }
  }
  EXPECT_GE(compared, 12);
}

INSTANTIATE_TEST_SUITE_P(Models, DecoderGeneration,
                         testing::Values("llama", "llama3", "llama_dynamic", "opt", "opt_post_norm",
                                         "gpt2", "bloom_7_heads", "gpt_neox"));

TEST(DecoderGenerationErrors, NeedsAPromptAndRoomBehindIt) {
  const at::NoGradGuard no_gradients;
  QuantizedNetwork network(test_data() / "models/opt", "{rules: []}");
  const std::vector<TokenSequence> prompts{{{5, 6, 7}}};
  GenerationOptions options;
  options.max_length = 3;
  EXPECT_NE(message_of<ConfigError>([&] {
              generate(network.model(), pack(prompts), options, network.pass());
            }).find("a prompt has 3 tokens, of max_length 3"),
            std::string::npos);
  options.max_new_tokens = 100000;
  EXPECT_NE(message_of<ConfigError>([&] {
              generate(network.model(), pack(prompts), options, network.pass());
            }).find("the model's positions"),
            std::string::npos);
}

}  // namespace
}  // namespace quell
