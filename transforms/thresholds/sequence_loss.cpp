#include "transforms/thresholds/sequence_loss.h"

#include <ATen/core/grad_mode.h>
#include <algorithm>
#include <cmath>
#include <numeric>

#include "framework/base/error.h"
#include "framework/kernels/squared_distance.h"
#include "framework/model/gather.h"
#include "framework/model/packed_attention.h"
#include "framework/quant/device.h"
#include "framework/quant/parallel.h"

namespace quell {
namespace {

// Products of fewer rows are slow; more would give losers up later.
constexpr int64_t kTokensOfPiece = 128;
// At least, whatever the number of threads: what is known of losers does not depend on it.
constexpr int64_t kTokensOfRound = 128;
// Of quantized weights that are kept from round to round.
constexpr int64_t kMostBytes = int64_t{512} << 20;

// Computes the readers with other weights and rows, and attention with quell's own kernel.
class ReaderEngine final : public Engine {
 public:
  ReaderEngine(const std::vector<Linear*>& readers, const std::vector<QuantizedWeight>& weights,
               const QuantizedRows* codes, const QuantizedRows* floats)
      : readers_(readers), weights_(weights), codes_(codes), floats_(floats) {}

  bool joins() const override { return true; }
  Rows linear(const Product& of) const override {
    for (size_t i = 0; i < readers_.size(); ++i) {
      if (!readers_[i]->weight.is_same(of.weight.stored())) continue;
      at::Tensor result = weights_[i]
                              .product(*(weights_[i].are_codes() ? codes_ : floats_))
                              .to(of.rows.values.device());
      return {of.bias.defined() ? result.add_(of.bias) : result};
    }
    return Engine::linear(of);
  }
  Rows attention(const AttentionSpans& spans, const AttentionShape& shape, const Rows& query,
                 const Rows& key, const Rows& value, const AttentionGrids& grids) const override {
    if (!query.values.device().is_cpu()) {
      return Engine::attention(spans, shape, query, key, value, grids);
    }
    const at::Tensor context =
        packed_attention(spans, shape, query.values, key.values, value.values, grids);
    return grids.context == nullptr ? Rows{context} : quantize(*grids.context, context, true);
  }

 private:
  const std::vector<Linear*>& readers_;
  const std::vector<QuantizedWeight>& weights_;
  const QuantizedRows *codes_, *floats_;
};

// The rows of sequences that follow one another.
at::Tensor slice(const at::Tensor& rows, const Batch& batch, int64_t first, int64_t end) {
  return rows.defined() ? rows.slice(0, batch.offsets[first], batch.offsets[end]) : rows;
}

}  // namespace

SequenceLoss::SequenceLoss(const SearchedGroup& group, const std::vector<GroupInput>& inputs)
    : group_(group), weights_(group.group, group.model, group.points, group.form) {
  const at::NoGradGuard no_gradients;
  Weights plain;
  for (const ReaderWeights::Part& part : weights_.parts()) {
    plain.push_back(part.plain());
    (part.as_codes ? any_codes_ : any_floats_) = true;
  }
  for (const GroupInput& input : inputs) add_pieces(input);
  for_each_dynamically(std::ssize(pieces_), [&](int64_t index) {
    Piece& piece = pieces_[static_cast<size_t>(index)];
    const QuantizedRows rows(piece.rows);
    piece.targets = outputs(piece, plain, nullptr, &rows);
  });
  sort_by_loss();
  int64_t tokens = kTokensOfRound;
  for (size_t i = 0; i < pieces_.size(); ++i) {
    if (tokens >= kTokensOfRound) {
      rounds_.push_back(i);
      tokens = 0;
    }
    tokens += pieces_[i].rows.size(0);
  }
}

void SequenceLoss::add_pieces(const GroupInput& input) {
  const Batch& batch = *input.batch;
  if (batch.decoder_token_ids.defined()) {
    return add_piece(input.rows, input.state, group_.model.bind(batch));
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
              group_.model.bind(gather({&batch, 1}, chosen)));
    chosen.clear();
    first = end;
  }
}

void SequenceLoss::add_piece(const at::Tensor& rows, State state, ModelInput input) {
  Piece piece{rows, std::move(state), std::move(input), {}};
  const Batch& batch = piece.input.batch;
  const bool targets =
      group_.model.sites()[static_cast<size_t>(group_.group.site)].rows == RowsOf::kTargets;
  const auto& lengths = targets ? batch.target_valid_lengths() : batch.valid_lengths;
  if (batch.keeps_padding()) {
    piece.real.emplace(targets ? batch.target_offsets() : batch.offsets, lengths);
  }
  piece.tokens = std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
  tokens_ += piece.tokens;
  pieces_.push_back(std::move(piece));
}

void SequenceLoss::sort_by_loss() {
  const float threshold = group_.typical_threshold();
  const at::Tensor scale = scale_of(group_.features, threshold);
  const auto used = weights(scale, threshold);
  std::vector<double> losses(pieces_.size());
  for_each_dynamically(std::ssize(pieces_), [&](int64_t index) {
    const Piece& piece = pieces_[static_cast<size_t>(index)];
    const double loss = distance(piece, *used, scale, threshold);
    losses[static_cast<size_t>(index)] =
        std::isnan(loss) ? 0 : loss / static_cast<double>(std::max<int64_t>(piece.tokens, 1));
  });
  std::vector<size_t> order(pieces_.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return losses[a] > losses[b]; });
  std::vector<Piece> sorted;
  for (const size_t i : order) sorted.push_back(std::move(pieces_[i]));
  pieces_ = std::move(sorted);
}

at::Tensor SequenceLoss::outputs(const Piece& piece, const Weights& weights,
                                 const QuantizedRows* codes, const QuantizedRows* floats) const {
  const ReaderEngine engine(group_.group.readers, weights, codes, floats);
  const Pass pass(group_.points, {.engine = &engine});
  const at::Tensor result =
      group_.group.combined({piece.rows}, piece.state, piece.input, pass).values;
  return on_host(piece.real ? piece.real->of(result) : result, "threshold searches").contiguous();
}

double SequenceLoss::distance(const Piece& piece, const Weights& weights, const at::Tensor& scale,
                              float threshold) const {
  std::optional<QuantizedRows> codes, floats;
  if (any_codes_) codes = group_.quantized(piece.rows, scale, threshold, true);
  if (any_floats_) floats = group_.quantized(piece.rows, scale, threshold, false);
  const at::Tensor found =
      outputs(piece, weights, codes ? &*codes : nullptr, floats ? &*floats : nullptr);
  const int64_t columns = found.size(1);
  return kernels::squared_distance({found.const_data_ptr<float>(), columns},
                                   {piece.targets.const_data_ptr<float>(), columns}, found.size(0),
                                   columns);
}

std::shared_ptr<const SequenceLoss::Weights> SequenceLoss::weights(const at::Tensor& scale,
                                                                   float threshold) {
  if (const auto known = kept_.find(threshold); known != kept_.end()) return known->second;
  Weights made;
  int64_t bytes = 0;
  for (const ReaderWeights::Part& part : weights_.parts()) {
    made.push_back(part.quantized(scale, 0, part.values.size(0)));
    bytes += made.back().bytes();
  }
  auto result = std::make_shared<const Weights>(std::move(made));
  if (kept_bytes_ + bytes <= kMostBytes) {
    kept_bytes_ += bytes;
    kept_.emplace(threshold, result);
  }
  return result;
}

double SequenceLoss::add(float threshold, size_t round) {
  const at::NoGradGuard no_gradients;
  const at::Tensor scale = scale_of(group_.features, threshold);
  const auto used = weights(scale, threshold);
  const size_t first = rounds_[round];
  const size_t end = round + 1 < rounds_.size() ? rounds_[round + 1] : pieces_.size();
  std::vector<double> sums(end - first);
  for_each_dynamically(std::ssize(sums), [&](int64_t index) {
    sums[static_cast<size_t>(index)] =
        distance(pieces_[first + static_cast<size_t>(index)], *used, scale, threshold);
  });
  return std::accumulate(sums.begin(), sums.end(), 0.0) / static_cast<double>(tokens_);
}

}  // namespace quell
