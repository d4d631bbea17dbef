#include "framework/run/experiment.h"

#include "framework/config/enum_name.h"
#include "framework/config/load.h"

namespace quell {

const char* to_string(Stage stage) { return enum_name(stage); }

ExperimentSpec load_experiment(const std::filesystem::path& path,
                               const std::vector<std::string>& overrides, const Plugins& plugins) {
  Problems problems;
  ReadContext context{problems, &plugins};
  const ConfigNode node = load_config(path, overrides, schema_of<ExperimentSpec>(), problems);
  ExperimentSpec spec = read_config<ExperimentSpec>(node, context);
  spec.quant.rules = collect_rules(spec.quant, context);
  spec.quant.include.clear();
  problems.throw_if_any();
  return spec;
}

}  // namespace quell
