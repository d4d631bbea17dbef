#include "framework/model/rows.h"

#include <ATen/ops/index_select.h>

namespace quell {

Rows select_rows(const Rows& rows, const at::Tensor& indices) {
  const auto chosen = [&](const at::Tensor& all) { return at::index_select(all, 0, indices); };
  Rows result{chosen(rows.values), rows.grid};
  if (rows.codes == nullptr) return result;
  auto codes = std::make_shared<IntegerCodes>(*rows.codes);
  codes->codes = chosen(codes->codes);
  QuantParameters& of = codes->parameters;
  if (rows.grid->spec.granularity == Granularity::kToken) {
    of.scale = chosen(of.scale);
    of.zero_point = chosen(of.zero_point);
  }
  result.codes = std::move(codes);
  return result;
}

}  // namespace quell
