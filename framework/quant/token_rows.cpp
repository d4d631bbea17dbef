#include "framework/quant/token_rows.h"

#include <ATen/ops/cat.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "framework/base/error.h"

namespace quell {
namespace {

// [batch, length, other axes...]
at::Tensor tokens_second(const at::Tensor& values, int64_t sequence_axis) {
  if (sequence_axis < 0 || sequence_axis >= values.dim()) {
    throw ConfigError(fmt::format("sequence axis {} does not exist in a tensor of shape [{}]",
                                  sequence_axis, fmt::join(values.sizes(), ", ")));
  }
  return sequence_axis == 0 ? values.unsqueeze(0) : values.movedim(sequence_axis, 1);
}

}  // namespace

at::Tensor token_rows(const at::Tensor& values, int64_t sequence_axis) {
  const at::Tensor tokens = tokens_second(values, sequence_axis);
  const int64_t count = tokens.size(0) * tokens.size(1);
  return tokens.reshape({count, count == 0 ? 0 : tokens.numel() / count});
}

at::Tensor token_rows(const at::Tensor& values, int64_t sequence_axis,
                      const std::vector<int64_t>& lengths) {
  const at::Tensor tokens = tokens_second(values, sequence_axis);
  const int64_t batch = tokens.size(0), longest = tokens.size(1);
  if (lengths.empty() || static_cast<int64_t>(lengths.size()) > batch) {
    throw ConfigError(
        fmt::format("{} lengths for {} sequences; give one for each", lengths.size(), batch));
  }
  std::vector<at::Tensor> kept;
  for (size_t i = 0; i < lengths.size(); ++i) {
    if (lengths[i] < 0 || lengths[i] > longest) {
      throw ConfigError(
          fmt::format("sequence {} has length {}, but the tensor holds {} tokens of each", i,
                      lengths[i], longest));
    }
    kept.push_back(tokens[static_cast<int64_t>(i)].narrow(0, 0, lengths[i]));
  }
  return token_rows(at::cat(kept), 0);
}

at::Tensor from_token_rows(const at::Tensor& rows, const at::Tensor& like, int64_t sequence_axis) {
  const at::Tensor tokens = rows.view(tokens_second(like, sequence_axis).sizes());
  return (sequence_axis == 0 ? tokens.squeeze(0) : tokens.movedim(1, sequence_axis)).contiguous();
}

}  // namespace quell
