#include "models/blocks/head.h"

#include "models/blocks/residual.h"

namespace quell {

Rows first_rows(const Rows& rows, const ModelInput& input) {
  const bool has_all = rows.values.size(0) != input.batch.sequences();
  return chosen_rows(rows, has_all ? input.first_rows : at::Tensor());
}

}  // namespace quell
