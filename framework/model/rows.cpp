#include "framework/model/rows.h"

#include <ATen/ops/full.h>
#include <ATen/ops/index_select.h>
#include <limits>

namespace quell {

namespace {

// One NaN for all values. What a single one stands for is never left out.
bool has_values(const Rows& rows) {
  const at::Tensor& values = rows.values;
  return rows.codes == nullptr || values.size(1) == 1 || values.stride(1) != 0;
}

}  // namespace

Rows rows_of_codes(const SitePoint* grid, std::shared_ptr<const IntegerCodes> codes) {
  Rows rows{{}, grid, std::move(codes)};
  const at::Tensor& all = rows.codes->codes;
  rows.values = at::full({1, 1}, std::numeric_limits<float>::quiet_NaN()).expand(all.sizes());
  return all.size(1) == 1 ? with_values(rows) : rows;
}

Rows with_values(const Rows& rows) {
  const bool single = rows.codes != nullptr && rows.values.size(1) == 1;
  if (!single && has_values(rows)) return rows;
  const auto per_row = [](const at::Tensor& of) { return of.numel() == 1 ? of : of.unsqueeze(1); };
  const QuantParameters& of = rows.codes->parameters;
  const at::Tensor codes = rows.codes->codes.to(at::kFloat);
  return {codes.sub(per_row(of.zero_point)).mul_(per_row(of.scale)), rows.grid, rows.codes};
}

Rows select_rows(const Rows& rows, const at::Tensor& indices) {
  const auto chosen = [&](const at::Tensor& all) { return at::index_select(all, 0, indices); };
  const at::Tensor& all = rows.values;
  Rows result{
      has_values(rows) ? chosen(all) : all.as_strided({indices.numel(), all.size(1)}, {0, 0}),
      rows.grid};
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
