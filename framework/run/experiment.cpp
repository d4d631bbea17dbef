#include "framework/run/experiment.h"

#include <fmt/ranges.h>

#include "framework/base/file.h"
#include "framework/config/enum_name.h"
#include "framework/config/load.h"
#include "framework/quant/device.h"

namespace quell {

const char* to_string(Stage stage) { return enum_name(stage); }

// The name becomes a folder: one that leaves runs/ would be a surprise.
void ExperimentSpec::check(const ExperimentSpec& spec, Report& report) {
  const ModelOptions& model = spec.model;
  if (const std::string problem = devices_problem(model.device); !problem.empty()) {
    report.problem("model.device", problem);
  }
  if (!model.is_on_cpu() && model.engine && model.engine->name() != "libtorch") {
    report.problem("model.engine",
                   fmt::format("{} computes on the CPU; with `device: {}` write libtorch, or leave "
                               "it out",
                               model.engine->name(), fmt::join(model.device, ", ")));
  }
  if (spec.name.empty() || is_plain_name(spec.name)) return;
  report.problem("name",
                 "must be the name of one folder, of letters, digits and any of . _ = + -; to "
                 "write elsewhere use --output");
}

ExperimentSpec load_experiment(const std::filesystem::path& path,
                               const std::vector<std::string>& overrides, const Plugins& plugins) {
  Problems problems;
  const ConfigNode node = load_config(path, overrides, schema_of<ExperimentSpec>(), problems);
  ExperimentSpec spec = read_experiment(node, plugins, problems);
  problems.throw_if_any();
  return spec;
}

ExperimentSpec read_experiment(const ConfigNode& node, const Plugins& plugins, Problems& problems) {
  ReadContext context{problems, &plugins};
  ExperimentSpec spec = read_config<ExperimentSpec>(node, context);
  spec.quant.rules = collect_rules(spec.quant, context);
  spec.quant.include.clear();
  spec.quant.groups.clear();
  return spec;
}

std::string engine_of(const ExperimentSpec& spec) {
  if (spec.model.engine) return spec.model.engine->name();
  const bool own = spec.calibration.padding == Padding::kDrop && spec.model.is_on_cpu();
  return own ? "packed" : "libtorch";
}

}  // namespace quell
