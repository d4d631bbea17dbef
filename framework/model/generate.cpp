#include "framework/model/generate.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/log_softmax.h>
#include <fmt/format.h>
#include <map>

#include "framework/base/error.h"
#include "framework/model/decoding.h"
#include "framework/model/gather.h"
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
  if (!is_decoder(model)) {
    expect_id("decoder_start_token_id", options.decoder_start_token_id, 0);
  }
  expect_id("forced_bos_token_id", options.forced_bos_token_id, -1);
  const auto expect_ids = [&](const char* key, const std::vector<int64_t>& ids) {
    for (const int64_t id : ids) expect_id(key, id, 0);
  };
  expect_ids("eos_token_id", options.eos_token_id);
  expect_ids("forced_eos_token_id", options.forced_eos_token_id);
  for (const auto& word : options.bad_words_ids) expect_ids("bad_words_ids", word);
  for (const auto& one : options.sequence_bias) expect_ids("sequence_bias", one.tokens);
}

// The tokens that the encoder reads, or a decoder alone.
std::vector<int64_t> source_of(const Batch& batch, int64_t sequence) {
  const int64_t* ids = batch.token_ids.const_data_ptr<int64_t>() + batch.offsets[sequence];
  return {ids, ids + batch.valid_lengths[sequence]};
}

// The texts of sequences whose prompts are equally long.
class Writing {
 public:
  Writing(const Model& model, const Batch& batch, const GenerationOptions& options,
          const Pass& pass)
      : options_(options), decoding_(model, batch, pass) {
    for (int64_t i = 0; i < batch.sequences(); ++i) {
      std::vector<int64_t> source = source_of(batch, i);
      std::vector<int64_t> prompt =
          is_decoder(model) ? source : std::vector<int64_t>{options.decoder_start_token_id};
      searches_.push_back(make_search(options, source, std::move(prompt)));
      first_.push_back(i);
    }
  }

  std::vector<GeneratedSequence> texts() {
    while (step()) {
    }
    std::vector<GeneratedSequence> results;
    for (const auto& search : searches_) {
      for (GeneratedSequence& result : search->results()) results.push_back(std::move(result));
    }
    return results;
  }

 private:
  // One token further; false where all texts are finished.
  bool step();

  const GenerationOptions& options_;
  Decoding decoding_;
  std::vector<std::unique_ptr<TextSearch>> searches_;
  std::vector<int64_t> first_;  // where the hypotheses of each sequence began in the last step
  size_t read_ = 0;             // tokens of each hypothesis that the model has read
};

bool Writing::step() {
  std::vector<int64_t> parents, tokens;
  size_t length = read_;
  for (size_t i = 0; i < searches_.size(); ++i) {
    const int64_t before = first_[i];
    first_[i] = std::ssize(parents);
    for (const Hypothesis& hypothesis : searches_[i]->running()) {
      parents.push_back(before + hypothesis.parent);
      tokens.insert(tokens.end(), hypothesis.ids.begin() + static_cast<int64_t>(read_),
                    hypothesis.ids.end());
      length = hypothesis.ids.size();
    }
  }
  if (tokens.empty()) return false;
  read_ = length;
  at::Tensor scores = decoding_.step(parents, tokens);
  scores = options_.num_beams == 1 ? scores.contiguous() : at::log_softmax(scores, -1);
  float* values = scores.mutable_data_ptr<float>();
  const int64_t vocabulary = scores.size(1);
  for (size_t i = 0; i < searches_.size(); ++i) {
    std::vector<float*> rows;
    for (size_t row = 0; row < searches_[i]->running().size(); ++row) {
      rows.push_back(values + (first_[i] + static_cast<int64_t>(row)) * vocabulary);
    }
    if (!rows.empty()) searches_[i]->advance(rows, vocabulary);
  }
  return true;
}

// A decoder's lengths count its prompt.
GenerationOptions behind_prompt(GenerationOptions options, int64_t prompt) {
  if (options.max_new_tokens) options.max_length = *options.max_new_tokens + prompt;
  if (options.min_new_tokens) options.min_length = *options.min_new_tokens + prompt;
  return options;
}

void check_prompt(const GenerationOptions& options, int64_t prompt) {
  if (prompt > 0 && prompt < options.max_length) return;
  throw ConfigError(fmt::format(
      "a prompt has {} tokens, of max_length {}; a text needs a prompt, and room behind it: set "
      "max_new_tokens",
      prompt, options.max_length));
}

std::vector<GeneratedSequence> continuations(const Model& model, const Batch& batch,
                                             const GenerationOptions& given, const Pass& pass) {
  std::map<int64_t, std::vector<BatchSequence>> by_length;
  for (int64_t i = 0; i < batch.sequences(); ++i) {
    by_length[batch.valid_lengths[i]].push_back({0, i});
  }
  std::vector<GeneratedSequence> results(
      static_cast<size_t>(batch.sequences() * given.num_return_sequences));
  for (const auto& [length, sequences] : by_length) {
    const GenerationOptions options = behind_prompt(given, length);
    check(options, model);
    check_prompt(options, length);
    auto texts = Writing(model, gather({&batch, 1}, sequences), options, pass).texts();
    for (size_t i = 0; i < texts.size(); ++i) {
      const auto wanted = static_cast<size_t>(given.num_return_sequences);
      const auto sequence = static_cast<size_t>(sequences[i / wanted].sequence);
      results[sequence * wanted + i % wanted] = std::move(texts[i]);
    }
  }
  return results;
}

}  // namespace

std::vector<GeneratedSequence> generate(const Model& model, const Batch& batch,
                                        const GenerationOptions& given, const Pass& pass) {
  const at::NoGradGuard no_gradients;
  if (is_decoder(model)) return continuations(model, batch, given, pass);
  const GenerationOptions options = with_new_tokens(given);
  check(options, model);
  return Writing(model, batch, options, pass).texts();
}

}  // namespace quell
