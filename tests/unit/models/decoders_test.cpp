// Decoder language models: their logits in all variants against Hugging Face (tests/data/models),
// log-likelihoods, and folders that are written as they were read.
#include <gtest/gtest.h>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/randint.h>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/io/config_keys.h"
#include "framework/io/safetensors.h"
#include "framework/record/model_folder.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFloat = "{rules: []}";
constexpr const char* kVariants[] = {"llama",         "llama_biases",
                                     "llama_linear",  "llama_dynamic",
                                     "llama3",        "opt",
                                     "opt_post_norm", "opt_no_biases",
                                     "gpt2",          "gpt2_inner",
                                     "bloom",         "bloom_7_heads",
                                     "gpt_neox",      "gpt_neox_sequential"};

Batch batch_of(const fs::path& folder) {
  return read_batches(folder / "inputs.safetensors", {"b4.input_ids"})[0];
}

at::Tensor log_likelihood(QuantizedNetwork& network, const Batch& batch) {
  const at::NoGradGuard no_gradients;
  const Outputs outputs = network.model().forward(batch, network.pass());
  EXPECT_EQ(outputs.count("logits"), 0U);
  return outputs.at("log_likelihood");
}

class Decoders : public testing::TestWithParam<const char*> {
 protected:
  fs::path folder() const { return test_data() / "models" / GetParam(); }
};

TEST_P(Decoders, HaveTheLogitsOfHuggingFace) {
  QuantizedNetwork network(folder(), kFloat);
  const at::Tensor golden =
      SafetensorsFile(folder() / "logits.safetensors").read("fp.token_logits");
  const at::Tensor found = network.logits(batch_of(folder()), false, false);
  const double difference = max_difference(found, golden);
  RecordProperty("difference", std::to_string(difference / golden.abs().max().item<double>()));
  EXPECT_LE(difference, float_tolerance(golden));
}

TEST_P(Decoders, GiveLogLikelihoodsOfIds) {
  QuantizedNetwork network(folder(), kFloat);
  Batch batch = batch_of(folder());
  const at::Tensor logits = network.logits(batch, false, false);
  batch.scored_ids = at::randint(-1, logits.size(1), {batch.tokens()}, at::kLong);
  batch.scored_ids[0] = -1;
  const at::Tensor all = at::log_softmax(logits.to(at::kDouble), 1);
  const at::Tensor ids = batch.scored_ids;
  const at::Tensor chosen = all.gather(1, ids.clamp_min(0).unsqueeze(1)).squeeze(1);
  const at::Tensor expected = chosen.mul(ids.ge(0));
  EXPECT_LE(max_difference(log_likelihood(network, batch), expected), float_tolerance(logits));
  EXPECT_EQ(log_likelihood(network, batch)[0].item<float>(), 0);
  // The same with a look at all logits.
  bool seen = false;
  const Pass pass =
      network.pass(false, false, [&](SiteId id, const at::Tensor& rows, const at::Tensor&) {
        if (id == network.site("activation:lm_head.logits")) seen = rows.size(0) == batch.tokens();
      });
  const at::NoGradGuard no_gradients;
  const at::Tensor found = network.model().forward(batch, pass).at("log_likelihood");
  EXPECT_LE(max_difference(found, expected), float_tolerance(logits));
  EXPECT_TRUE(seen);
}

// Two texts that begin alike, with what they share computed once, and a third one.
TEST_P(Decoders, SharedContextsChangeNothing) {
  QuantizedNetwork network(folder(), kFloat);
  const Batch batch = batch_of(folder());
  const int64_t* ids = batch.token_ids.const_data_ptr<int64_t>();
  ASSERT_GE(batch.length(0), 5);
  const std::vector<int64_t> start(ids, ids + 3);
  std::vector<TokenSequence> whole(3),
      parts = {{start}, {{ids[3], ids[4]}}, {{ids[4]}}, {{ids[1], ids[0]}}};
  for (size_t i = 0; i < 2; ++i) {
    whole[i].ids = start;
    whole[i].ids.insert(whole[i].ids.end(), parts[i + 1].ids.begin(), parts[i + 1].ids.end());
  }
  whole[2] = parts[3];
  const Batch shared = pack_behind(parts, {-1, 0, 0, -1});
  EXPECT_EQ(shared.position_ids[shared.offsets[1]].item<int64_t>(), 3);
  const auto engine = make_engine("packed");
  for (const Engine* own : {static_cast<const Engine*>(nullptr), engine.get()}) {
    const at::NoGradGuard no_gradients;
    const Pass pass(network.points(), {.engine = own});
    const at::Tensor alone = network.model().forward(pack(whole), pass).at("logits");
    const at::Tensor found = network.model().forward(shared, pass).at("logits");
    // Rows behind the context: 2 and 1, then the third text.
    const at::Tensor expected =
        at::cat({alone.slice(0, 3, 5), alone.slice(0, 8, 9), alone.slice(0, 9)});
    if (own != nullptr) {
      EXPECT_TRUE(at::equal(found.slice(0, 3), expected));
    } else {
      EXPECT_LE(max_difference(found.slice(0, 3), expected), float_tolerance(expected));
    }
  }
  if (std::string(GetParam()) != "llama_dynamic") return;
  // Its frequencies follow from the length of the whole text.
  const std::vector<TokenSequence> longer = {
      {std::vector<int64_t>(network.model().max_positions() - 1, ids[0])}, {{ids[1]}}};
  EXPECT_THROW(network.model().bind(pack_behind(longer, {-1, 0})), ConfigError);
}

TEST_P(Decoders, EveryKeyOfTheFolderIsKnown) {
  const Checkpoint checkpoint(folder());
  check_config_keys(checkpoint, checkpoint.config().at("model_type").get<std::string>());
  EXPECT_THAT(checkpoint.notes(), testing::IsEmpty());
}

TEST_P(Decoders, AreStoredAsTheyWereRead) {
  const TemporaryFolder copy;
  QuantizedNetwork network(folder(), kFloat);
  const Checkpoint origin(folder());
  write_model_folder(copy.path(), {network.model().stored_parameters(), ""}, folder());
  const Checkpoint stored(copy.path());
  EXPECT_EQ(stored.names(), origin.names());
  EXPECT_EQ(read_file(copy / "config.json"), read_file(folder() / "config.json"));
  std::vector<ExpectedTensor> tensors;
  for (const std::string& name : origin.names()) tensors.push_back({name, origin.shape(name)});
  const auto expected = origin.load(tensors, {}, ""), found = stored.load(tensors, {}, "");
  for (const auto& [name, tensor] : expected) {
    EXPECT_TRUE(equal_bits(found.at(name), tensor)) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, Decoders, testing::ValuesIn(kVariants),
                         [](const auto& test) { return test.param; });

TEST(LanguageModels, RefuseIdsToScoreOutsideOfTheVocabulary) {
  const fs::path folder = test_data() / "models/opt";
  QuantizedNetwork network(folder, kFloat);
  Batch batch = batch_of(folder);
  batch.scored_ids = at::ones_like(batch.token_ids).mul(48);
  EXPECT_NE(message_of<DataError>([&] { network.model().bind(batch); }).find("token id 48"),
            std::string::npos);
}

TEST(LanguageModels, BartGivesLogLikelihoodsToo) {
  const fs::path folder = test_data() / "parity/outlier_suppression_bart_gen";
  QuantizedNetwork network(folder, kFloat);
  Batch batch = read_batches(folder / "inputs.safetensors", {"b0.input_ids"})[0];
  const at::Tensor all = at::log_softmax(network.logits(batch, false, false), 1);
  batch.scored_ids = batch.decoder_token_ids;
  const at::Tensor expected = all.gather(1, batch.scored_ids.unsqueeze(1)).squeeze(1);
  EXPECT_LE(max_difference(log_likelihood(network, batch), expected), float_tolerance(expected));
}

// Sequences of the rows of ids [sequences, length] where the mask [sequences, length] is 1.
Batch real_tokens(const at::Tensor& ids, const at::Tensor& mask) {
  std::vector<TokenSequence> sequences;
  for (int64_t i = 0; i < ids.size(0); ++i) {
    const at::Tensor row = ids[i].masked_select(mask[i].ge(1)).to(at::kLong).contiguous();
    const int64_t* data = row.const_data_ptr<int64_t>();
    sequences.push_back({{data, data + row.numel()}, {}});
  }
  return pack(sequences);
}

// The rows of [sequences, length, features] where the mask is 1.
at::Tensor real_rows(const at::Tensor& rows, const at::Tensor& mask) {
  return rows.flatten(0, 1).index_select(0, mask.flatten().nonzero().squeeze(1));
}

struct TrainedModel : testing::TestWithParam<const char*> {};

TEST_P(TrainedModel, EqualsItsGoldens) {
  const fs::path folder = shared_folder() / "models" / ("tiny-" + std::string(GetParam()));
  if (!fs::exists(folder)) GTEST_SKIP() << folder << " is not there";
  QuantizedNetwork network(folder, kFloat);
  const SafetensorsFile golden(folder / "golden.safetensors");
  const at::Tensor mask = golden.read("A.attention_mask");
  const at::Tensor logits = real_rows(golden.read("A.logits"), mask);
  const Batch padded = real_tokens(golden.read("A.input_ids"), mask);
  EXPECT_LE(max_difference(network.logits(padded, false, false), logits), float_tolerance(logits));

  Batch text = real_tokens(golden.read("B.input_ids"), golden.read("B.attention_mask"));
  const at::Tensor found = network.logits(text, false, false);
  const at::Tensor last = golden.read("B.logits_last8")[0];
  const int64_t tokens = text.tokens();
  EXPECT_LE(max_difference(found.slice(0, tokens - 8), last), float_tolerance(last));
  EXPECT_TRUE(at::equal(found.argmax(1), golden.read("B.argmax")[0].to(at::kLong)));
  text.scored_ids = at::cat({text.token_ids.slice(0, 1), at::full({1}, -1, at::kLong)});
  const at::Tensor likelihood = log_likelihood(network, text).slice(0, 0, tokens - 1);
  EXPECT_LE(max_difference(likelihood, golden.read("B.target_logprob")[0]), float_tolerance(last));
}

INSTANTIATE_TEST_SUITE_P(Shared, TrainedModel, testing::Values("llama", "opt", "bloom"),
                         [](const auto& test) { return test.param; });

struct PublishedModel : testing::TestWithParam<const char*> {};

TEST_P(PublishedModel, EqualsItsGoldens) {
  const fs::path folder =
      shared_folder() / "goldens/outlier_suppression_plus" / (std::string(GetParam()) + "_s0");
  if (!fs::exists(folder)) GTEST_SKIP() << folder << " is not there";
  QuantizedNetwork network(folder, kFloat);
  const SafetensorsFile golden(folder / "inputs.safetensors");
  const auto compare = [&](const std::string& before, const std::string& behind) {
    const at::Tensor ids = golden.read(before + "input_ids" + behind);
    const std::string masks = before + "attention_mask" + behind;
    const at::Tensor mask = golden.contains(masks) ? golden.read(masks) : at::ones_like(ids);
    const at::Tensor logits = real_rows(golden.read(before + "fp_logits" + behind), mask);
    EXPECT_LE(max_difference(network.logits(real_tokens(ids, mask), false, false), logits),
              float_tolerance(logits));
  };
  compare("", ".0");
  compare("", ".1");
  if (golden.contains("other_side.input_ids")) compare("other_side.", "");
}

INSTANTIATE_TEST_SUITE_P(Shared, PublishedModel, testing::Values("llama", "opt", "bloom"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace quell
