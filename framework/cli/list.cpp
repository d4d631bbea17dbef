#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "framework/cli/print.h"
#include "framework/cli/verb.h"
#include "framework/plugin/reference.h"

namespace quell {

int run_list(const Plugins& plugins, const Arguments& arguments) {
  CommandLine line(
      "list [KIND] [--json | --markdown | --keys]",
      "Lists the plug-ins: models, tasks, observers, quantizers, transforms, solvers.");
  line.add()("json", "print JSON")("markdown", "print the reference page docs/plugins.md")(
      "keys", "print docs/keys.md: what happens to each key of a Hugging Face folder");
  line.positional("kind", 1);
  if (!line.parse(arguments)) return 0;
  const auto kinds = line.list("kind");
  const std::string kind = kinds.empty() ? "" : kinds[0];
  if (line.has("json")) {
    print_json(list_json(plugins, kind));
  } else if (line.has("markdown")) {
    fmt::print("{}", reference_markdown(plugins));
  } else if (line.has("keys")) {
    fmt::print("{}", keys_reference());
  } else {
    fmt::print("{}", list_text(plugins, kind));
  }
  return 0;
}

}  // namespace quell
