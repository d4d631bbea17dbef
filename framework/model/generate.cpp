#include "framework/model/generate.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/log_softmax.h>
#include <fmt/format.h>

#include "framework/base/error.h"
#include "framework/model/decoding.h"
#include "framework/model/text_search.h"

namespace quell {
namespace {

void check(const GenerationOptions& options, const Model& model) {
  const auto expect = [](bool holds, const char* key, int64_t found, const std::string& expected) {
    if (!holds) throw ConfigError(fmt::format("{}: {} is not {}", key, found, expected));
  };
  expect(options.num_beams >= 1, "num_beams", options.num_beams, "1 or more");
  expect(options.num_return_sequences >= 1 && options.num_return_sequences <= options.num_beams,
         "num_return_sequences", options.num_return_sequences,
         fmt::format("between 1 and num_beams ({})", options.num_beams));
  expect(options.max_length >= 2, "max_length", options.max_length,
         "2 or more: the first token is given");
  expect(options.max_length <= model.max_positions(), "max_length", options.max_length,
         fmt::format("{} or less, the model's positions", model.max_positions()));
  const auto expect_id = [&](const char* key, int64_t id, int64_t least) {
    expect(id >= least && id < model.vocabulary_size(), key, id,
           fmt::format("a token of the model, which has {}", model.vocabulary_size()));
  };
  expect_id("decoder_start_token_id", options.decoder_start_token_id, 0);
  expect_id("forced_bos_token_id", options.forced_bos_token_id, -1);
  const auto expect_ids = [&](const char* key, const std::vector<int64_t>& ids) {
    for (const int64_t id : ids) expect_id(key, id, 0);
  };
  expect_ids("eos_token_id", options.eos_token_id);
  expect_ids("forced_eos_token_id", options.forced_eos_token_id);
  for (const auto& word : options.bad_words_ids) expect_ids("bad_words_ids", word);
  for (const auto& one : options.sequence_bias) expect_ids("sequence_bias", one.tokens);
}

// The tokens that the encoder reads, of each sequence.
std::vector<int64_t> source_of(const Batch& batch, int64_t sequence) {
  const int64_t* ids = batch.token_ids.const_data_ptr<int64_t>() + batch.offsets[sequence];
  return {ids, ids + batch.valid_lengths[sequence]};
}

}  // namespace

std::vector<GeneratedSequence> generate(const Model& model, const Batch& batch,
                                        const GenerationOptions& given, const Pass& pass) {
  const GenerationOptions options = with_new_tokens(given);
  check(options, model);
  const at::NoGradGuard no_gradients;
  Decoding decoding(model, batch, pass);
  std::vector<std::unique_ptr<TextSearch>> searches;
  // Where the hypotheses of each sequence began in the last step.
  std::vector<int64_t> first;
  for (int64_t i = 0; i < batch.sequences(); ++i) {
    searches.push_back(make_search(options, source_of(batch, i)));
    first.push_back(i);
  }
  std::vector<int64_t> parents, tokens;
  while (true) {
    parents.clear();
    tokens.clear();
    for (size_t i = 0; i < searches.size(); ++i) {
      const int64_t before = first[i];
      first[i] = static_cast<int64_t>(parents.size());
      for (const Hypothesis& hypothesis : searches[i]->running()) {
        parents.push_back(before + hypothesis.parent);
        tokens.push_back(hypothesis.ids.back());
      }
    }
    if (tokens.empty()) break;
    at::Tensor scores = decoding.step(parents, tokens);
    scores = options.num_beams == 1 ? scores.contiguous() : at::log_softmax(scores, -1);
    float* values = scores.mutable_data_ptr<float>();
    const int64_t vocabulary = scores.size(1);
    for (size_t i = 0; i < searches.size(); ++i) {
      std::vector<float*> rows;
      for (size_t row = 0; row < searches[i]->running().size(); ++row) {
        rows.push_back(values + (first[i] + static_cast<int64_t>(row)) * vocabulary);
      }
      if (!rows.empty()) searches[i]->advance(rows, vocabulary);
    }
  }
  std::vector<GeneratedSequence> results;
  for (const auto& search : searches) {
    for (GeneratedSequence& result : search->results()) results.push_back(std::move(result));
  }
  return results;
}

}  // namespace quell
