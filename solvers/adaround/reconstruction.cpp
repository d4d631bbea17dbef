#include "solvers/adaround/reconstruction.h"

#include "solvers/adaround/layer_reconstructions.h"

namespace quell {

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

}  // namespace quell
