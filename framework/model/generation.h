// How encoder-decoder models write text.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "framework/config/schema.h"

namespace quell {

// When beam search may stop before `max_length`: once there are as many finished hypotheses as
// beams (true), once the best running one cannot come first anymore if it ends now (false), or
// ends at any length (never).
enum class EarlyStopping { kFalse, kTrue, kNever };

template <>
struct EnumNames<EarlyStopping> {
  static constexpr std::pair<const char*, EarlyStopping> values[] = {
      {"false", EarlyStopping::kFalse},
      {"true", EarlyStopping::kTrue},
      {"never", EarlyStopping::kNever}};
};

// A bias of the scores of a token that would complete a sequence of tokens.
struct SequenceBias {
  std::vector<int64_t> tokens;  // not empty
  float bias;
};

// Scores of the tokens that end a text grow once it is long: behind `start` written tokens by
// |score| * (factor^(tokens more) - 1).
struct LengthDecay {
  int64_t start;
  double factor;
};

// The names and meanings of Hugging Face's generation_config.json; an id of -1 is absent.
struct GenerationOptions {
  int64_t num_beams = 1;             // 1: greedy
  int64_t num_return_sequences = 1;  // of each sequence, the best first; at most num_beams
  int64_t max_length = 20;           // in tokens, with the first one that the decoder is given
  int64_t min_length = 0;
  // In tokens behind the first one. Where given, they decide instead of max_length and min_length:
  // with_new_tokens() makes these of them.
  std::optional<int64_t> max_new_tokens = {};
  std::optional<int64_t> min_new_tokens = {};
  double length_penalty = 1.0;  // log-probability / length^penalty ranks hypotheses
  EarlyStopping early_stopping = EarlyStopping::kFalse;
  // What ScoreRules do to the scores, in the order in which they do it.
  std::vector<SequenceBias> sequence_bias = {};
  double encoder_repetition_penalty = 1;     // > 1: rather tokens of the source
  double repetition_penalty = 1;             // > 1: rather not what was written before
  int64_t no_repeat_ngram_size = 0;          // 0: n-grams may repeat
  int64_t encoder_no_repeat_ngram_size = 0;  // 0: n-grams of the source may be written
  std::vector<std::vector<int64_t>> bad_words_ids = {};
  int64_t forced_bos_token_id = -1;
  std::vector<int64_t> forced_eos_token_id = {};
  bool remove_invalid_values = false;
  std::optional<LengthDecay> exponential_decay_length_penalty = {};
  std::vector<int64_t> suppress_tokens = {};
  std::vector<int64_t> begin_suppress_tokens = {};
  bool renormalize_logits = false;

  int64_t decoder_start_token_id = -1;
  std::vector<int64_t> eos_token_id = {};  // each ends a text
  int64_t pad_token_id = -1;
};

// The same with max_length and min_length that follow from max_new_tokens and min_new_tokens.
inline GenerationOptions with_new_tokens(GenerationOptions options) {
  constexpr int64_t kPrompt = 1;  // the decoder's first token
  if (options.max_new_tokens) options.max_length = *options.max_new_tokens + kPrompt;
  if (options.min_new_tokens) options.min_length = *options.min_new_tokens + kPrompt;
  return options;
}

// A text as it was written.
struct GeneratedSequence {
  // From the decoder's first token on; without padding, except where beam search returns a text
  // that did not end.
  std::vector<int64_t> ids;
  double score = 0;  // of the hypothesis as beam search ranks it; 0 for greedy search
};

}  // namespace quell
