// Restore: the quantizers of a network that `quell export --format quell` wrote.

#include <fmt/format.h>

#include "framework/model/pipeline.h"
#include "framework/plugin/registry.h"
#include "framework/solve/stored_quantizers.h"

namespace quell {
namespace {

struct Params {
  std::filesystem::path from;

  template <class V>
  static void describe(V& v) {
    v("from", &Params::from, "folder of an exported network, whose weights the model has",
      required(), existing_folder());
  }
};

class Restore final : public Solver {
 public:
  explicit Restore(const Params& params) : params_(params) {}

  bool works_by_segment(Model& /*model*/) const override { return true; }

  void run(PipelineContext& context) override {
    read_quantizers(params_.from / kQuantizersFile, *context.execution, context.points);
  }

 private:
  Params params_;
};

}  // namespace

void register_solver_restore(Plugins& plugins) {
  add_plugin<Restore, Params>(plugins.solvers, "restore",
                              "Take the quantizers of an exported network as they were.", "quell");
}

}  // namespace quell
