// What libraries compute on processors without VNNI: as `integer`, but the products of neighbouring
// codes are added in 16 bits, and a sum that does not fit ends at the largest number that does.

#include "engines/packing/integer_engine.h"
#include "framework/plugin/registry.h"

namespace quell {
namespace {

class Saturating final : public IntegerEngine {
 public:
  explicit Saturating(const NoParams&)
      : IntegerEngine("saturating", kernels::IntegerRoute::kSaturating) {}
};

}  // namespace

void register_engine_saturating(Plugins& plugins) {
  add_plugin<Saturating, NoParams>(
      plugins.engines, "saturating",
      "As integer, but sums of two products saturate at 16 bits, as on processors without VNNI.",
      "VPMADDUBSW: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2");
}

}  // namespace quell
