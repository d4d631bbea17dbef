// What every task does between token sequences and a model's outputs.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "framework/model/batch.h"
#include "framework/task/task.h"

namespace quell {

// Positions 0 .. n-1 by falling length, equal lengths in their order: batches of like lengths
// waste least in attention, and a batch that is too large fails at once.
std::vector<int64_t> longest_first(std::span<const TokenSequence> sequences);

// Positions 0 .. n-1.
std::vector<int64_t> in_order(std::span<const TokenSequence> sequences);

// Packs the sequences at `order`, `batch_size` at a time; Batch::example_ids are these positions.
// `keep_padding_to` as in pack().
std::vector<Batch> make_batches(std::span<const TokenSequence> sequences,
                                std::span<const int64_t> order, int64_t batch_size,
                                int64_t keep_padding_to = 0, int64_t pad_id = 0);

// Sets Batch::pad_to of batches without kept padding. Throws ConfigError when a sequence is longer.
void pad_attention_to(std::span<Batch> batches, int64_t pad_to);

// Keeps the first `options.batches` batches, when that is set. Throws ConfigError when there are
// fewer.
void limit_batches(std::vector<Batch>& batches, const CalibrationOptions& options);

// Which of the `available` examples of `origin` to calibrate on, in their order: draws
// `options.samples` with the seed. Throws ConfigError when there are fewer.
std::vector<int64_t> draw_calibration(int64_t available, const std::string& origin,
                                      const CalibrationOptions& options, uint64_t seed);

// Packs calibration sequences in their order as `options` say. `batch_size` and `max_length` are
// those of the task, for options that leave them open.
std::vector<Batch> calibration_batches(std::span<const TokenSequence> sequences,
                                       const CalibrationOptions& options, int64_t batch_size,
                                       int64_t max_length, int64_t pad_id);

// One value per sequence to Batch::labels: int64, or float32 for scores.
void set_labels(Batch& batch, std::span<const double> values, bool scores);

// Runs the model over the batches. Entry i holds the outputs of example i < `examples`: the row of
// an output of [sequences, ...], the rows of its real tokens of an output of [tokens, ...].
// `done(sequences)` is called after each batch. Throws Error naming output, batch and example for a
// value that is not finite or a shape that is neither.
std::vector<std::map<std::string, std::vector<float>>> collect_outputs(
    std::span<const Batch> batches, int64_t examples, const Predictor& predictor,
    const std::function<void(int64_t)>& done);

// Index of the first largest value; `values` is not empty.
int64_t argmax(std::span<const float> values);

}  // namespace quell
