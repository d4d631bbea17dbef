#include "transforms/thresholds/feature_loss.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <algorithm>
#include <cmath>
#include <numeric>

#include "framework/kernels/squared_distance.h"
#include "framework/quant/device.h"
#include "framework/quant/parallel.h"

namespace quell {
namespace {

// Of products that one thread computes at once.
constexpr int64_t kRowsAtOnce = 128;
// Of quantized weights and codes of rows that are kept from round to round.
constexpr int64_t kMostBytes = int64_t{512} << 20;

kernels::Block block_of(const at::Tensor& matrix) {
  return {matrix.const_data_ptr<float>(), matrix.stride(0)};
}

// Indices by falling loss, earlier ones first among equals.
at::Tensor falling(std::vector<double>& losses) {
  for (double& loss : losses) loss = std::isnan(loss) ? 0 : loss;
  std::vector<int64_t> order(losses.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return losses[static_cast<size_t>(a)] > losses[static_cast<size_t>(b)];
  });
  std::sort(losses.begin(), losses.end(), std::greater<>());
  return at::tensor(order, at::kLong);
}

// Ends of blocks: 64, 128, 256, ... `count`.
std::vector<int64_t> growing(int64_t count) {
  constexpr int64_t kFirst = 64;
  std::vector<int64_t> ends;
  for (int64_t end = kFirst; end < count; end *= 2) ends.push_back(end);
  ends.push_back(count);
  return ends;
}

// Of falling losses: the sum of those in front of each end.
std::vector<double> sums_until(const std::vector<double>& losses,
                               const std::vector<int64_t>& ends) {
  std::vector<double> sums;
  double sum = 0;
  int64_t at = 0;
  for (const int64_t end : ends) {
    for (; at < end; ++at) sum += losses[static_cast<size_t>(at)];
    sums.push_back(sum);
  }
  return sums;
}

}  // namespace

bool FeatureLoss::Compared::divides() const {
  return std::all_of(parts.begin(), parts.end(),
                     [](const ReaderWeights::Part& part) { return part.divides(); });
}

void FeatureLoss::Compared::sort(const at::Tensor& order) {
  for (ReaderWeights::Part& part : parts) part.values = part.values.index_select(0, order);
  for (at::Tensor& bias : biases) {
    if (bias.defined()) bias = bias.index_select(0, order);
  }
  targets = targets.index_select(1, order);
}

FeatureLoss::FeatureLoss(const SearchedGroup& group, const std::vector<GroupInput>& inputs,
                         bool gated)
    : group_(group), gated_(gated), weights_(group.group, group.model, group.points, group.form) {
  const at::NoGradGuard no_gradients;
  for (size_t i = 0; i < weights_.parts().size(); ++i) {
    const Linear* reader = group.group.readers[i];
    if (i == 0 || !gated) compared_.emplace_back();
    Compared& compared = compared_.back();
    compared.readers.push_back(reader);
    compared.parts.push_back(weights_.parts()[i]);
    compared.biases.push_back(gated ? on_host(reader->bias, "threshold searches") : at::Tensor());
    (weights_.parts()[i].as_codes ? any_codes_ : any_floats_) = true;
  }
  read(inputs);
  sort_by_loss();
}

void FeatureLoss::read(const std::vector<GroupInput>& inputs) {
  const RowsOf kind = group_.model.sites()[static_cast<size_t>(group_.group.site)].rows;
  std::vector<at::Tensor> rows;
  for (const GroupInput& input : inputs) {
    const Batch& batch = *input.batch;
    const bool targets = kind == RowsOf::kTargets;
    rows.push_back(batch.keeps_padding()
                       ? RealRows(targets ? batch.target_offsets() : batch.offsets,
                                  targets ? batch.target_valid_lengths() : batch.valid_lengths)
                             .of(input.rows)
                       : input.rows);
  }
  rows_ = on_host(at::cat(rows), "threshold searches");
  const QuantizedRows plain(rows_);
  for (Compared& compared : compared_) {
    Weights weights;
    for (const ReaderWeights::Part& part : compared.parts) weights.push_back(part.plain());
    compared.targets = outputs(compared, weights, plain, plain, 0);
  }
}

at::Tensor FeatureLoss::outputs(const Compared& compared, const Weights& weights,
                                const QuantizedRows& codes, const QuantizedRows& floats,
                                int64_t first) const {
  at::Tensor result;
  for (size_t i = 0; i < weights.size(); ++i) {
    at::Tensor own = weights[i].product(weights[i].are_codes() ? codes : floats);
    if (!gated_) return own;
    if (compared.biases[i].defined()) {
      own.add_(compared.biases[i].slice(0, first, first + own.size(1)));
    }
    const auto& nonlinearity = compared.readers[i]->nonlinearity;
    if (nonlinearity) own = nonlinearity(std::move(own));
    result = result.defined() ? result.mul_(own) : own;
  }
  return result;
}

FeatureLoss::Weights FeatureLoss::weights(const Compared& compared, const at::Tensor& scale,
                                          int64_t first, int64_t end) const {
  Weights result;
  if (first == end) return result;
  for (const ReaderWeights::Part& part : compared.parts) {
    result.push_back(part.quantized(scale, first, end));
  }
  return result;
}

void FeatureLoss::sort_by_loss() {
  const float threshold = group_.typical_threshold();
  const at::Tensor scale = scale_of(group_.features, threshold);
  std::vector<double> row_losses(static_cast<size_t>(rows_.size(0)));
  std::vector<std::vector<double>> output_losses;
  const QuantizedRows codes =
      any_codes_ ? group_.quantized(rows_, scale, threshold, true) : QuantizedRows(at::Tensor());
  const QuantizedRows floats =
      any_floats_ ? group_.quantized(rows_, scale, threshold, false) : QuantizedRows(at::Tensor());
  for (Compared& compared : compared_) {
    std::vector<double> own(static_cast<size_t>(compared.outputs()));
    const at::Tensor found =
        outputs(compared, weights(compared, scale, 0, compared.outputs()), codes, floats, 0);
    kernels::add_squared_distances(block_of(found), block_of(compared.targets), found.size(0),
                                   found.size(1), row_losses.data(), own.data());
    if (compared.divides()) compared.sort(falling(own));
    output_losses.push_back(std::move(own));
  }
  const at::Tensor order = falling(row_losses);
  rows_ = rows_.index_select(0, order);
  for (Compared& compared : compared_) compared.targets = compared.targets.index_select(0, order);
  plan(row_losses, output_losses);
}

void FeatureLoss::plan(const std::vector<double>& row_losses,
                       const std::vector<std::vector<double>>& output_losses) {
  int64_t most = 0;
  for (const Compared& compared : compared_) most = std::max(most, compared.outputs());
  const std::vector<int64_t> row_ends = growing(rows_.size(0)), output_ends = growing(most);
  std::vector<double> output_sums(output_ends.size());
  for (size_t i = 0; i < compared_.size(); ++i) {
    Compared& compared = compared_[i];
    for (const int64_t end : output_ends) {
      const int64_t share = (compared.outputs() * end + most - 1) / most;
      compared.ends.push_back(compared.divides() ? share : compared.outputs());
    }
    const std::vector<double> own = sums_until(output_losses[i], compared.ends);
    std::transform(own.begin(), own.end(), output_sums.begin(), output_sums.begin(), std::plus<>());
  }
  const std::vector<double> row_sums = sums_until(row_losses, row_ends);
  // What quantizing a row or an output costs, in products of one row and one output.
  constexpr double kCostOfRow = 256, kCostOfOutput = 400;
  std::vector<size_t> block_ends;  // of the rows up to each of row_ends
  for (const int64_t end : row_ends) {
    for (int64_t at = blocks_.empty() ? 0 : blocks_.back().end; at < end; at += kRowsAtOnce) {
      blocks_.push_back({at, std::min(at + kRowsAtOnce, end)});
    }
    block_ends.push_back(blocks_.size());
  }
  size_t row = 0, output = 0;
  rounds_.push_back({0, block_ends[0], 0, 1});
  while (row + 1 < row_ends.size() || output + 1 < output_ends.size()) {
    const auto gain = [](const std::vector<double>& sums, const std::vector<int64_t>& ends,
                         size_t at, double other_sum, double other_cost) {
      if (at + 1 == ends.size()) return -1.0;
      return (sums[at + 1] - sums[at]) * other_sum /
             (static_cast<double>(ends[at + 1] - ends[at]) * other_cost);
    };
    const double by_rows = gain(row_sums, row_ends, row, output_sums[output],
                                kCostOfRow + static_cast<double>(output_ends[output]));
    const double by_outputs = gain(output_sums, output_ends, output, row_sums[row],
                                   kCostOfOutput + static_cast<double>(row_ends[row]));
    if (by_rows >= by_outputs && row + 1 < row_ends.size()) {
      rounds_.push_back({block_ends[row], block_ends[row + 1], 0, output + 1});
      ++row;
    } else {
      rounds_.push_back({0, block_ends[row], output + 1, output + 2});
      ++output;
    }
  }
}

FeatureLoss::Known FeatureLoss::known(float threshold, const at::Tensor& scale,
                                      const Round& round) {
  const auto before = kept_.find(threshold);
  Known known = before == kept_.end() ? Known() : before->second;
  known.steps.resize(std::max(known.steps.size(), round.end_step));
  int64_t bytes = 0;
  for (size_t step = round.first_step; step < round.end_step; ++step) {
    if (known.steps[step] != nullptr) continue;
    std::vector<Weights> made;
    for (const Compared& compared : compared_) {
      made.push_back(weights(compared, scale, compared.first(step), compared.ends[step]));
      for (const QuantizedWeight& weight : made.back()) bytes += weight.bytes();
    }
    known.steps[step] = std::make_shared<const std::vector<Weights>>(std::move(made));
  }
  if (any_codes_) {
    known.codes.resize(std::max(known.codes.size(), round.end_block));
    const auto first = static_cast<int64_t>(round.first_block);
    for_each_dynamically(static_cast<int64_t>(round.end_block) - first, [&](int64_t index) {
      const auto block = static_cast<size_t>(first + index);
      if (known.codes[block] != nullptr) return;
      known.codes[block] = std::make_shared<const QuantizedRows>(group_.quantized(
          rows_.slice(0, blocks_[block].first, blocks_[block].end), scale, threshold, true));
    });
    if (round.first_step == 0) {
      const int64_t rows = blocks_[round.end_block - 1].end - blocks_[round.first_block].first;
      bytes += rows * rows_.size(1);
    }
  }
  if (bytes > 0 && kept_bytes_ + bytes <= kMostBytes) {
    kept_bytes_ += bytes;
    kept_[threshold] = known;
  }
  return known;
}

double FeatureLoss::distance(const Round& round, const Known& known, size_t block,
                             const at::Tensor& scale, float threshold) const {
  const RowBlock& of = blocks_[block];
  const QuantizedRows floats =
      any_floats_ ? group_.quantized(rows_.slice(0, of.first, of.end), scale, threshold, false)
                  : QuantizedRows(at::Tensor());
  const QuantizedRows& codes = any_codes_ ? *known.codes[block] : floats;
  double sum = 0;
  for (size_t step = round.first_step; step < round.end_step; ++step) {
    for (size_t i = 0; i < compared_.size(); ++i) {
      const Compared& compared = compared_[i];
      const int64_t first = compared.first(step), end = compared.ends[step];
      if (first == end) continue;
      const at::Tensor found = outputs(compared, (*known.steps[step])[i], codes, floats, first);
      const at::Tensor targets = compared.targets.slice(0, of.first, of.end).slice(1, first, end);
      sum += kernels::squared_distance(block_of(found), block_of(targets), found.size(0),
                                       found.size(1));
    }
  }
  return sum;
}

double FeatureLoss::add(float threshold, size_t index) {
  const at::NoGradGuard no_gradients;
  const Round& round = rounds_[index];
  const at::Tensor scale = scale_of(group_.features, threshold);
  const Known prepared = known(threshold, scale, round);
  std::vector<double> sums(round.end_block - round.first_block);
  for_each_dynamically(std::ssize(sums), [&](int64_t i) {
    sums[static_cast<size_t>(i)] =
        distance(round, prepared, round.first_block + static_cast<size_t>(i), scale, threshold);
  });
  return std::accumulate(sums.begin(), sums.end(), 0.0) / static_cast<double>(rows_.size(0));
}

}  // namespace quell
