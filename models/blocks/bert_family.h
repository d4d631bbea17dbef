// The encoder that BERT and its relatives share (Devlin et al. 2019), and what tells them apart:
// the names of their tensors and how positions count.
#pragma once

#include <map>
#include <string>

#include "models/blocks/hf_config.h"
#include "models/blocks/transformer.h"

namespace quell {

struct BertFamily {
  std::string name;    // "bert"
  std::string prefix;  // of all tensors but the head's: "bert."
  // Positions count from behind the id of the padding token, and padding has that one.
  bool positions_behind_padding = false;
  // BERT's names of a layer's modules -> this family's, where they differ.
  std::map<std::string, std::string> modules = {};
  std::string layers = "encoder.layer";
  // The names of sizes in config.json.
  EncoderKeys keys = {};
};

// Throws DataError naming what is wrong with config.json.
TransformerShape transformer_shape(const Checkpoint& checkpoint, const BertFamily& family);

}  // namespace quell
