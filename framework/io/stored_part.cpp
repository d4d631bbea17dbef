#include "framework/io/stored_part.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <utility>

namespace quell {
namespace {

// A view of the part, [groups, rows of each, ...] where rows come in groups.
at::Tensor place_of(const StoredPart& part, const at::Tensor& stored, int64_t rows) {
  const at::Tensor turned = part.transposed ? stored.t() : stored;
  if (part.group_rows == 0) return turned;
  return turned.unflatten(0, {part.groups, part.group_rows})
      .narrow(1, part.first, rows / part.groups);
}

}  // namespace

std::vector<int64_t> stored_shape(const StoredPart& part, const std::vector<int64_t>& shape) {
  std::vector<int64_t> result = shape;
  if (part.group_rows > 0) result.front() = part.groups * part.group_rows;
  if (part.transposed) std::swap(result.front(), result.back());
  return result;
}

at::Tensor take_part(const StoredPart& part, const at::Tensor& stored,
                     const std::vector<int64_t>& shape) {
  if (part.is_whole()) return stored;
  const at::Tensor place = place_of(part, stored, shape.front());
  // Its own memory, so that the rest of the file's tensor can go.
  at::Tensor result = at::empty(shape, stored.options());
  result.view(place.sizes()).copy_(place);
  return result;
}

void put_part(const StoredPart& part, const at::Tensor& tensor, at::Tensor& stored) {
  if (part.is_whole()) {
    stored = tensor;
    return;
  }
  if (!stored.defined()) {
    stored = at::zeros(stored_shape(part, tensor.sizes().vec()), tensor.options());
  }
  at::Tensor place = place_of(part, stored, tensor.size(0));
  place.copy_(tensor.view(place.sizes()));
}

}  // namespace quell
