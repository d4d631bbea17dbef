// A batch as a model reads it, and what its segments hand on.
#pragma once

#include <ATen/core/Tensor.h>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "framework/model/attention.h"
#include "framework/model/batch.h"
#include "framework/model/outputs.h"
#include "framework/model/pass.h"

namespace quell {

// Cosines and sines of rotary positions, [tokens, head size] each; undefined without such.
struct RotaryAngles {
  at::Tensor cosines, sines;
};

// A batch bound to a model: checked, and with all that layers would otherwise make anew. Made once,
// run as often as needed.
struct ModelInput {
  Batch batch;           // on the host; all others are on the model's first device
  at::Tensor token_ids;  // those of the batch
  at::Tensor segment_ids;
  at::Tensor scored_ids;
  at::Tensor position_ids;         // [tokens], rows of the model's table of positions
  at::Tensor target_ids;           // [target tokens], what a decoder reads
  at::Tensor target_position_ids;  // [target tokens]
  at::Tensor first_rows;           // [sequences] int64, the row of each sequence's first token
  SharedSpans self_attention;      // of an encoder
  SharedSpans target_attention;    // of a decoder, causal
  SharedSpans cross_attention;     // of a decoder to its encoder
  RotaryAngles rotary;
  std::vector<std::pair<at::Device, std::shared_ptr<const ModelInput>>> elsewhere;

  // The same on another device of the model.
  const ModelInput& on(at::Device device) const {
    for (const auto& [there, input] : elsewhere) {
      if (there == device) return *input;
    }
    return *this;
  }
};

// Keys and values of the tokens that were read so far, for writing token by token.
struct KeyValueCache {
  struct Layer {
    at::Tensor keys, values;                // [hypotheses, tokens, features]
    at::Tensor memory_keys, memory_values;  // [tokens, features], of the encoder's rows
  };
  std::map<int64_t, Layer> layers;
  std::vector<int64_t> parents;  // [hypotheses], the earlier hypothesis that each goes on from

  // The kept keys or values of each hypothesis, with its new row behind them, as rows.
  at::Tensor append(at::Tensor& kept, const at::Tensor& rows) const;
};

// What one segment hands to the next.
struct State {
  Rows rows;                       // [tokens, hidden]; in a decoder [target tokens, hidden]
  Rows memory;                     // [tokens, hidden], what a decoder reads of its encoder
  KeyValueCache* cache = nullptr;  // null: all tokens are there at once
  Outputs outputs;                 // filled by the last segment
};

}  // namespace quell
