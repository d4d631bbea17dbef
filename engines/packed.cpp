// quell's own float kernels.

#include "engines/packing/packed_engine.h"
#include "framework/plugin/registry.h"

namespace quell {
namespace {

class Packed final : public PackedEngine {
 public:
  explicit Packed(const NoParams&) {}
};

}  // namespace

void register_engine_packed(Plugins& plugins) {
  add_plugin<Packed, NoParams>(
      plugins.engines, "packed",
      "quell's own float kernels: weights packed once, several operations in one.",
      "packed products: Goto, van de Geijn 2008");
}

}  // namespace quell
