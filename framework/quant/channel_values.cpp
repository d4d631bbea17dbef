#include "framework/quant/channel_values.h"

#include <algorithm>

#include "framework/base/error.h"
#include "framework/quant/parallel.h"

namespace quell {

void for_each_channel(
    const at::Tensor& rows, const QuantSpec& spec,
    const std::function<void(int64_t channel, std::vector<float> values)>& visit) {
  QUELL_ASSERT(rows.scalar_type() == at::kFloat, "sites carry float32");
  const at::Tensor contiguous = rows.contiguous();
  const ChannelView view = channel_view(contiguous, spec);
  const float* x = contiguous.const_data_ptr<float>();
  for_each_dynamically(view.channels, [&](int64_t channel) {
    std::vector<float> values(static_cast<size_t>(view.outer * view.inner));
    for (int64_t block = 0; block < view.outer; ++block) {
      const float* first = x + (block * view.channels + channel) * view.inner;
      std::copy(first, first + view.inner, values.begin() + block * view.inner);
    }
    visit(channel, std::move(values));
  });
}

}  // namespace quell
