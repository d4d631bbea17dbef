#include <nlohmann/json.hpp>

#include "framework/cli/print.h"
#include "framework/cli/verb.h"
#include "framework/plugin/reference.h"
#include "framework/run/experiment.h"

namespace quell {

int run_schema(const Plugins& plugins, const Arguments& arguments) {
  CommandLine line(
      "schema",
      "Prints the JSON Schema of experiment files, for editors that check and complete "
      "YAML.");
  line.add()("json", "print JSON (it always is)");
  if (!line.parse(arguments)) return 0;
  print_json(experiment_schema_json(schema_of<ExperimentSpec>(), plugins));
  return 0;
}

}  // namespace quell
