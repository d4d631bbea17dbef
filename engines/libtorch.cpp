// LibTorch's operations one by one.

#include "framework/model/engine.h"
#include "framework/plugin/registry.h"

namespace quell {
namespace {

class LibTorch final : public Engine {
 public:
  explicit LibTorch(const NoParams&) {}
};

}  // namespace

void register_engine_libtorch(Plugins& plugins) {
  add_plugin<LibTorch, NoParams>(plugins.engines, "libtorch",
                                 "LibTorch's operations, with the bits of published code.",
                                 "PyTorch");
}

}  // namespace quell
