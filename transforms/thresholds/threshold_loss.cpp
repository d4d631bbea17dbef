#include "transforms/thresholds/threshold_loss.h"

#include <ATen/ops/add.h>
#include <ATen/ops/div.h>
#include <ATen/ops/full.h>
#include <ATen/ops/gt.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/lt.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <algorithm>
#include <array>

#include "framework/base/error.h"
#include "framework/model/gather.h"
#include "framework/quant/parallel.h"

namespace quell {
namespace {

// Products of fewer rows are slow; more would give losers up later.
constexpr int64_t kTokensOfPiece = 128;
// At least, whatever the number of threads: what is known of losers does not depend on it.
constexpr int64_t kTokensOfRound = 128;
// Of quantized weights that are kept from round to round.
constexpr int64_t kMostBytes = int64_t{512} << 20;

// In double precision, in an order that vectors allow.
double squared_distance(const at::Tensor& found, const at::Tensor& expected) {
  const at::Tensor a = found.contiguous(), b = expected.contiguous();
  const float* x = a.const_data_ptr<float>();
  const float* y = b.const_data_ptr<float>();
  constexpr int64_t kLanes = 16;
  std::array<double, kLanes> sums{};
  int64_t i = 0;
  for (; i + kLanes <= a.numel(); i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const double difference = static_cast<double>(x[i + lane]) - static_cast<double>(y[i + lane]);
      sums[static_cast<size_t>(lane)] += difference * difference;
    }
  }
  double sum = 0;
  for (const double lane : sums) sum += lane;
  for (; i < a.numel(); ++i) {
    const double difference = static_cast<double>(x[i]) - static_cast<double>(y[i]);
    sum += difference * difference;
  }
  return sum;
}

at::Tensor on_grid(const at::Tensor& values, const Range& range, const QuantSpec& spec) {
  return fake_quantize(values, parameters_from_range(range, spec), spec, /*in_place=*/true);
}

const QuantSpec& spec_of(const ScaleGroup& group, const SitePoints& points) {
  const SitePoint* point = points.point(group.site);
  QUELL_ASSERT(point != nullptr, "rows that are to be quantized");
  return point->spec;
}

// The rows of sequences that follow one another.
at::Tensor slice(const at::Tensor& rows, const Batch& batch, int64_t first, int64_t end) {
  return rows.defined() ? rows.slice(0, batch.offsets[first], batch.offsets[end]) : rows;
}

}  // namespace

at::Tensor shift_of(const Range& features) { return at::add(features.max, features.min).div_(2); }

at::Tensor scale_of(const Range& features, float threshold) {
  const at::Tensor bound = at::full({}, threshold, at::kFloat), one = at::ones_like(features.max);
  const at::Tensor above =
      at::where(at::gt(features.max, bound), at::div(features.max, bound), one);
  const at::Tensor below =
      at::where(at::lt(features.min, bound.neg()), at::div(features.min, bound.neg()), one);
  return at::maximum(above, below);
}

ThresholdLoss::ThresholdLoss(const ScaleGroup& group, const Model& model, const SitePoints& points,
                             const Range& features, const std::vector<GroupInput>& inputs,
                             LossForm form)
    : group_(group),
      rows_of_(model.sites()[static_cast<size_t>(group.site)].rows),
      spec_(spec_of(group, points)),
      features_(features),
      pass_(points),
      weights_(group, model, points, form) {
  std::vector<at::Tensor> plain;
  for (const ReaderWeights::Matrix& matrix : weights_.matrices()) plain.push_back(matrix.values);
  weights_.use(plain);
  for (const GroupInput& input : inputs) add_pieces(input, model);
  int64_t tokens = kTokensOfRound;
  for (size_t i = 0; i < pieces_.size(); ++i) {
    if (tokens >= kTokensOfRound) {
      rounds_.push_back(i);
      tokens = 0;
    }
    tokens += pieces_[i].rows.size(0);
  }
  for_each_dynamically(std::ssize(pieces_), [&](int64_t index) {
    Piece& piece = pieces_[static_cast<size_t>(index)];
    piece.targets = outputs(piece, piece.rows);
  });
}

void ThresholdLoss::add_pieces(const GroupInput& input, const Model& model) {
  const Batch& batch = *input.batch;
  if (batch.decoder_token_ids.defined()) {
    return add_piece(input.rows, input.state, model.bind(batch));
  }
  std::vector<BatchSequence> chosen;
  int64_t first = 0;
  for (int64_t end = 1; end <= batch.sequences(); ++end) {
    chosen.push_back({0, end - 1});
    const bool enough = batch.offsets[end] - batch.offsets[first] >= kTokensOfPiece;
    if (!enough && end < batch.sequences()) continue;
    State state = input.state;
    state.memory.values = slice(state.memory.values, batch, first, end);
    state.rows = {};
    add_piece(slice(input.rows, batch, first, end), std::move(state),
              model.bind(gather({&batch, 1}, chosen)));
    chosen.clear();
    first = end;
  }
}

void ThresholdLoss::add_piece(const at::Tensor& rows, State state, ModelInput input) {
  Piece piece{rows, std::move(state), std::move(input), {}, {}};
  const Batch& batch = piece.input.batch;
  const bool targets = rows_of_ == RowsOf::kTargets;
  const auto& lengths = targets ? batch.target_valid_lengths() : batch.valid_lengths;
  if (batch.keeps_padding()) {
    piece.real.emplace(targets ? batch.target_offsets() : batch.offsets, lengths);
  }
  for (const int64_t length : lengths) tokens_ += length;
  pieces_.push_back(std::move(piece));
}

std::vector<at::Tensor> ThresholdLoss::outputs(const Piece& piece, const at::Tensor& rows) const {
  std::vector<at::Tensor> result;
  if (group_.combined) {
    result = {group_.combined({rows}, piece.state, piece.input, pass_).values};
  } else {
    for (const Linear* reader : group_.readers) result.push_back(at::linear(rows, reader->weight));
  }
  if (!piece.real) return result;
  for (at::Tensor& output : result) output = piece.real->of(output);
  return result;
}

double ThresholdLoss::distance(const Piece& piece, const at::Tensor& rows) const {
  const std::vector<at::Tensor> found = outputs(piece, rows);
  double sum = 0;
  for (size_t i = 0; i < found.size(); ++i) sum += squared_distance(found[i], piece.targets[i]);
  return sum;
}

at::Tensor ThresholdLoss::quantized(const at::Tensor& rows, const at::Tensor& scale,
                                    float threshold) const {
  const at::Tensor scaled = at::div(rows, scale);
  if (spec_.is_dynamic()) return fake_quantize_dynamic(scaled, spec_, /*in_place=*/true);
  if (spec_.granularity == Granularity::kTensor) {
    const at::Tensor bound = at::full({1}, threshold, at::kFloat);
    return on_grid(scaled, {bound.neg(), bound}, spec_);
  }
  const at::Tensor extremes =
      at::stack({at::div(features_.min, scale), at::div(features_.max, scale)});
  return on_grid(scaled, min_max(extremes, spec_), spec_);
}

std::vector<at::Tensor> ThresholdLoss::weights(const at::Tensor& scale, float threshold) {
  if (const auto known = kept_.find(threshold); known != kept_.end()) return known->second;
  std::vector<at::Tensor> result;
  int64_t bytes = 0;
  for (const ReaderWeights::Matrix& matrix : weights_.matrices()) {
    at::Tensor scaled = at::mul(matrix.values, scale);
    if (matrix.spec != nullptr) {
      scaled = on_grid(scaled, min_max(scaled, *matrix.spec), *matrix.spec);
    }
    bytes += static_cast<int64_t>(scaled.nbytes());
    result.push_back(std::move(scaled));
  }
  if (kept_bytes_ + bytes <= kMostBytes) {
    kept_bytes_ += bytes;
    kept_.emplace(threshold, result);
  }
  return result;
}

double ThresholdLoss::add(float threshold, size_t round) {
  const at::Tensor scale = scale_of(features_, threshold);
  weights_.use(weights(scale, threshold));
  const size_t first = rounds_[round];
  const size_t end = round + 1 < rounds_.size() ? rounds_[round + 1] : pieces_.size();
  std::vector<double> sums(end - first);
  for_each_dynamically(std::ssize(sums), [&](int64_t index) {
    const Piece& piece = pieces_[first + static_cast<size_t>(index)];
    sums[static_cast<size_t>(index)] = distance(piece, quantized(piece.rows, scale, threshold));
  });
  double sum = 0;
  for (const double one : sums) sum += one;
  return sum / static_cast<double>(tokens_);
}

}  // namespace quell
