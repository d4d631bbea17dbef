#include "framework/run/model_size.h"

#include <functional>
#include <numeric>
#include <set>
#include <string>
#include <utility>

namespace quell {

ModelSize model_size(const Model& model, std::span<const SitePlan> plan) {
  constexpr double kFloatBits = 32, kBitsPerByte = 8;
  ModelSize size;
  std::set<std::pair<std::string, double>> seen;
  size.float_bytes = static_cast<double>(model.other_parameters()) * kFloatBits / kBitsPerByte;
  size.quantized_bytes = size.float_bytes;
  for (size_t id = 0; id < plan.size(); ++id) {
    const Site& site = model.sites()[id];
    if (site.kind != SiteKind::kWeight) continue;
    const auto& shape = model.weight_shape(static_cast<SiteId>(id));
    const double elements = std::accumulate(shape.begin(), shape.end(), 1.0, std::multiplies<>());
    const double bits = plan[id].quantize ? static_cast<double>(plan[id].spec.bits) : kFloatBits;
    // Sites that share a tied table share its float values, and its codes where bits are the same.
    const std::string values = model.weight_identity(static_cast<SiteId>(id));
    const bool first = seen.insert({values, 0}).second,
               first_of_bits = seen.insert({values, bits}).second;
    const double float_bytes = first ? elements * kFloatBits / kBitsPerByte : 0;
    const double quantized_bytes = first_of_bits ? elements * bits / kBitsPerByte : 0;
    size.float_bytes += float_bytes;
    size.quantized_bytes += quantized_bytes;
    if (site.role != "embedding") continue;
    size.float_embedding_bytes += float_bytes;
    size.quantized_embedding_bytes += quantized_bytes;
  }
  return size;
}

}  // namespace quell
