#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/cli/print.h"
#include "framework/cli/verb.h"
#include "framework/plugin/reference.h"

namespace quell {

int run_describe(const Plugins& plugins, const Arguments& arguments) {
  CommandLine line("describe KIND NAME [--json]",
                   "Explains one plug-in: what it does, where it comes from, its parameters.");
  line.add()("json", "print JSON");
  line.positional("plugin", 2);
  if (!line.parse(arguments)) return 0;
  const auto names = line.list("plugin");
  if (names.size() != 2) {
    throw ConfigError("describe needs a kind and a name, such as `quell describe observer minmax`");
  }
  if (line.has("json")) {
    print_json(describe_json(plugins, names[0], names[1]));
  } else {
    fmt::print("{}", describe_text(plugins, names[0], names[1]));
  }
  return 0;
}

}  // namespace quell
