#include "framework/run/model_size.h"

namespace quell {

ModelSize model_size(const Model& model, std::span<const SitePlan> plan) {
  constexpr double kFloatBits = 32, kBitsPerByte = 8;
  ModelSize size;
  size.float_bytes = static_cast<double>(model.other_parameters()) * kFloatBits / kBitsPerByte;
  size.quantized_bytes = size.float_bytes;
  for (size_t id = 0; id < plan.size(); ++id) {
    const Site& site = model.sites()[id];
    if (site.kind != SiteKind::kWeight) continue;
    const auto elements = static_cast<double>(model.weight(static_cast<SiteId>(id)).numel());
    const double bits = plan[id].quantize ? static_cast<double>(plan[id].spec.bits) : kFloatBits;
    const double float_bytes = elements * kFloatBits / kBitsPerByte;
    const double quantized_bytes = elements * bits / kBitsPerByte;
    size.float_bytes += float_bytes;
    size.quantized_bytes += quantized_bytes;
    if (site.role != "embedding") continue;
    size.float_embedding_bytes += float_bytes;
    size.quantized_embedding_bytes += quantized_bytes;
  }
  return size;
}

}  // namespace quell
