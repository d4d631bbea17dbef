// Linears whose rows and weight both lie on grids of up to 8 bits, and attention between such rows,
// computed with their codes: sums are integers and exact.

#include "engines/packing/integer_engine.h"
#include "framework/plugin/registry.h"

namespace quell {
namespace {

class Integer final : public IntegerEngine {
 public:
  explicit Integer(const NoParams&) : IntegerEngine("integer") {}
};

}  // namespace

void register_engine_integer(Plugins& plugins) {
  add_plugin<Integer, NoParams>(
      plugins.engines, "integer",
      "Linears and attention on grids of up to 8 bits by codes, sums exact; all else as packed.",
      "integer arithmetic: Jacob et al. 2018");
}

}  // namespace quell
