// The fields of a Hugging Face config.json that encoders share, checked.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "framework/quant/dropout.h"
#include "models/blocks/layers.h"

namespace quell {

class Checkpoint;

// Whether config.json names an architecture with this ending, such as "ForQuestionAnswering".
bool is_architecture(const Checkpoint& checkpoint, std::string_view ending);

// What config.json calls the sizes of an encoder.
struct EncoderKeys {
  const char* hidden = "hidden_size";
  const char* layers = "num_hidden_layers";
  const char* heads = "num_attention_heads";
  const char* ffn = "intermediate_size";
  const char* nonlinearity = "hidden_act";
  const char* dropout = "hidden_dropout_prob";
  const char* attention_dropout = "attention_probs_dropout_prob";
  const char* head_dropout = "classifier_dropout";
  bool token_types = true;  // whether there is a table of them
};

struct HfEncoderConfig {
  // A field that is left out has the value of Hugging Face transformers 5. Throws DataError naming
  // the file and the field, also for fields whose value would change results here. `family` is
  // "bert", "roberta", "distilbert", "electra" or "mobilebert".
  HfEncoderConfig(const Checkpoint& checkpoint, std::string_view family, const EncoderKeys& keys);

  int64_t vocabulary_size, hidden, layers, heads, ffn, max_positions, token_types, pad_id, labels;
  int64_t embedding;  // width of the table of tokens, or of all tables
  double norm_epsilon;
  DropoutRates dropout;
  Nonlinearity nonlinearity;
};

struct StackSizes {
  int64_t layers, heads, ffn;
};

// Of BART and its relatives.
struct HfEncoderDecoderConfig {
  // As HfEncoderConfig.
  explicit HfEncoderDecoderConfig(const Checkpoint& checkpoint);

  int64_t vocabulary_size, hidden, max_positions, pad_id, end_id, decoder_start_id, labels;
  StackSizes encoder, decoder;
  bool scales_embeddings;
  bool ties_head;  // whether scores of tokens are read from the table of embeddings
  DropoutRates dropout;
  Nonlinearity nonlinearity;
};

}  // namespace quell
