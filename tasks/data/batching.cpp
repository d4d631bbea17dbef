#include "tasks/data/batching.h"

#include <ATen/ops/tensor.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <cmath>
#include <numeric>

#include "framework/base/draw.h"
#include "framework/base/error.h"

namespace quell {
namespace {

int64_t real_length(const TokenSequence& sequence) {
  return sequence.valid_length < 0 ? static_cast<int64_t>(sequence.ids.size())
                                   : sequence.valid_length;
}

// Values of one sequence in a contiguous float32 output.
std::span<const float> rows_of(const Batch& batch, int64_t sequence, const at::Tensor& output) {
  const int64_t width = output.numel() / output.size(0);
  const float* data = output.const_data_ptr<float>();
  if (output.size(0) == batch.sequences()) {
    return {data + sequence * width, static_cast<size_t>(width)};
  }
  return {data + batch.target_offsets()[sequence] * width,
          static_cast<size_t>(batch.target_valid_lengths()[sequence] * width)};
}

at::Tensor checked_output(const Batch& batch, const std::string& name, const at::Tensor& output) {
  const bool fits =
      output.dim() > 0 && output.numel() > 0 &&
      (output.size(0) == batch.sequences() || output.size(0) == batch.target_tokens());
  if (!fits) {
    throw Error(fmt::format(
        "output \"{}\" has shape [{}]; expected {} rows (sequences) or {} rows "
        "(tokens)",
        name, fmt::join(output.sizes().vec(), ", "), batch.sequences(), batch.target_tokens()));
  }
  return output.to(at::kCPU, at::kFloat).contiguous();
}

}  // namespace

std::vector<int64_t> in_order(std::span<const TokenSequence> sequences) {
  std::vector<int64_t> order(sequences.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  return order;
}

std::vector<int64_t> longest_first(std::span<const TokenSequence> sequences) {
  std::vector<int64_t> order = in_order(sequences);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return real_length(sequences[a]) > real_length(sequences[b]);
  });
  return order;
}

std::vector<Batch> make_batches(std::span<const TokenSequence> sequences,
                                std::span<const int64_t> order, int64_t batch_size,
                                int64_t keep_padding_to, int64_t pad_id) {
  std::vector<Batch> batches;
  std::vector<TokenSequence> chosen;
  for (size_t begin = 0; begin < order.size(); begin += static_cast<size_t>(batch_size)) {
    const size_t count = std::min(static_cast<size_t>(batch_size), order.size() - begin);
    const auto positions = order.subspan(begin, count);
    chosen.clear();
    for (int64_t position : positions) chosen.push_back(sequences[position]);
    batches.push_back(pack(chosen, keep_padding_to, pad_id));
    batches.back().example_ids.assign(positions.begin(), positions.end());
  }
  return batches;
}

void pad_attention_to(std::span<Batch> batches, int64_t pad_to) {
  for (Batch& batch : batches) {
    for (int64_t i = 0; pad_to > 0 && i < batch.sequences(); ++i) {
      if (batch.length(i) <= pad_to) continue;
      throw ConfigError(
          fmt::format("calibration.pad_to {}: a sequence has {} tokens; raise pad_to "
                      "or lower the maximum length of the task",
                      pad_to, batch.length(i)));
    }
    batch.pad_to = pad_to;
  }
}

void limit_batches(std::vector<Batch>& batches, const CalibrationOptions& options) {
  if (options.batches == 0) return;
  const auto available = static_cast<int64_t>(batches.size());
  if (options.batches > available) {
    throw ConfigError(fmt::format("calibration.batches {}: there are only {} batches",
                                  options.batches, available));
  }
  batches.resize(options.batches);
}

std::vector<int64_t> draw_calibration(int64_t available, const std::string& origin,
                                      const CalibrationOptions& options, uint64_t seed) {
  if (options.samples > available) {
    throw ConfigError(
        fmt::format("calibration.samples {}: {} holds only {} examples; set samples "
                    "to {} or less",
                    options.samples, origin, available, available));
  }
  return draw_without_replacement(available, options.samples, seed);
}

std::vector<Batch> calibration_batches(std::span<const TokenSequence> sequences,
                                       const CalibrationOptions& options, int64_t batch_size,
                                       int64_t max_length, int64_t pad_id) {
  const bool keep = options.padding != Padding::kDrop;
  const int64_t length = options.pad_to > 0 ? options.pad_to : max_length;
  std::vector<Batch> batches = make_batches(
      sequences, in_order(sequences), options.batch_size > 0 ? options.batch_size : batch_size,
      keep ? length : 0, pad_id);
  if (!keep) pad_attention_to(batches, options.pad_to);
  limit_batches(batches, options);
  return batches;
}

void set_labels(Batch& batch, std::span<const double> values, bool scores) {
  QUELL_ASSERT(static_cast<int64_t>(values.size()) == batch.sequences(), "one label per sequence");
  const at::Tensor labels = at::tensor(at::ArrayRef<double>(values.data(), values.size()));
  batch.labels = labels.to(scores ? at::kFloat : at::kLong);
}

std::vector<std::map<std::string, std::vector<float>>> collect_outputs(
    std::span<const Batch> batches, int64_t examples, const Predictor& predictor,
    const std::function<void(int64_t)>& done) {
  std::vector<std::map<std::string, std::vector<float>>> result(examples);
  predict_all(predictor, batches, [&](size_t index, const Outputs& outputs) {
    const Batch& batch = batches[index];
    for (const auto& [name, raw] : outputs) {
      const at::Tensor output = checked_output(batch, name, raw);
      for (int64_t sequence = 0; sequence < batch.sequences(); ++sequence) {
        const auto values = rows_of(batch, sequence, output);
        const int64_t example = batch.example_ids[sequence];
        for (float value : values) {
          if (std::isfinite(value)) continue;
          throw Error(
              fmt::format("output \"{}\" of batch {}, example {}, is {}; look for NaN in "
                          "the weights or for a scale of zero",
                          name, index, example, value));
        }
        result[example][name].assign(values.begin(), values.end());
      }
    }
    done(batch.sequences());
  });
  return result;
}

int64_t argmax(std::span<const float> values) {
  return std::max_element(values.begin(), values.end()) - values.begin();
}

}  // namespace quell
