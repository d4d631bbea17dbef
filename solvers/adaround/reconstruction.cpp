#include "solvers/adaround/reconstruction.h"

#include <algorithm>

#include "framework/quant/parallel.h"
#include "solvers/adaround/layer_reconstructions.h"

namespace quell {

void Reconstruction::set_blocks(int64_t rows, int64_t rows_per_block) {
  block_begins_ = {0};
  while (block_begins_.back() < rows) {
    block_begins_.push_back(std::min(rows, block_begins_.back() + rows_per_block));
  }
}

std::unique_ptr<Reconstruction> make_reconstruction(const Operand& operand,
                                                    const AdaRoundOptions& options,
                                                    SequenceDraw draw, RowMemory& memory) {
  const bool moments = options.loss == RoundingLoss::kMoments;
  if (const auto* table = std::get_if<const EmbeddingTable*>(&operand)) {
    return reconstruct_table(**table, moments, std::move(draw));
  }
  if (const auto* norm = std::get_if<const Norm*>(&operand)) {
    return reconstruct_norm(**norm, moments, std::move(draw), memory);
  }
  Linear linear = *std::get<const Linear*>(operand);
  if (!options.include_nonlinearity) linear.nonlinearity = {};
  if (moments && !linear.nonlinearity) return reconstruct_linear_by_moments(linear);
  return reconstruct_linear(linear, std::move(draw), memory);
}

void for_each_piece(int64_t count, const std::function<void(int64_t)>& work) {
  // A single piece would be shared out among threads.
  for_each_dynamically(std::max<int64_t>(count, 2), [&](int64_t i) {
    if (i < count) work(i);
  });
}

}  // namespace quell
