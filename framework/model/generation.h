// How encoder-decoder models write text.
#pragma once

#include <cstdint>
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

// The names and meanings of Hugging Face's generation_config.json; an id of -1 is absent.
struct GenerationOptions {
  int64_t num_beams = 1;             // 1: greedy
  int64_t num_return_sequences = 1;  // of each sequence, the best first; at most num_beams
  int64_t max_length = 20;           // in tokens, with the first one that the decoder is given
  int64_t min_length = 0;
  int64_t no_repeat_ngram_size = 0;  // 0: n-grams may repeat
  double length_penalty = 1.0;       // log-probability / length^penalty ranks hypotheses
  EarlyStopping early_stopping = EarlyStopping::kFalse;
  int64_t decoder_start_token_id = -1;
  int64_t eos_token_id = -1;
  int64_t pad_token_id = -1;
  int64_t forced_bos_token_id = -1;
  int64_t forced_eos_token_id = -1;
};

// A text as it was written.
struct GeneratedSequence {
  std::vector<int64_t> ids;  // from the decoder's first token on, without padding
  double score = 0;          // of the hypothesis as beam search ranks it; 0 for greedy search
};

}  // namespace quell
