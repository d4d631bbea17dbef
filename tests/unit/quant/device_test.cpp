// Kernels are reached through kernels/dispatch.h, so that a tensor's device decides which one runs.
#include <gmock/gmock.h>
#include <filesystem>
#include <regex>
#include <set>
#include <string>

#include "framework/base/file.h"
#include "tests/support/paths.h"

namespace quell {
namespace {

namespace fs = std::filesystem;

// Types and rules, what works on values that were gathered on the host, and the kernels of an
// engine that is one of the CPU.
const std::set<std::string> kBesideTheDoor = {
    "dispatch",         "grid",           "interval",     "codes",
    "parallel",         "statistics",     "range_search", "shifted_search",
    "token_extremes",   "packed_product", "activation",   "log_sum",
    "soft_rounding",    "attention",      "norm",         "integer_product",
    "squared_distance",
};

TEST(Kernels, DispatchIsTheDoor) {
  const std::regex include("#include \"framework/kernels/([a-z_-]+)\\.h\"");
  std::set<std::string> entered;
  for (const char* room : {"framework", "observers", "quantizers", "transforms", "solvers",
                           "models", "tasks", "engines"}) {
    for (const auto& entry : fs::recursive_directory_iterator(source_folder() / room)) {
      const std::string path = fs::relative(entry.path(), source_folder()).string();
      const std::string ending = entry.path().extension().string();
      if (path.starts_with("framework/kernels") || (ending != ".cpp" && ending != ".h")) continue;
      const std::string text = read_file(entry.path());
      for (std::sregex_iterator found(text.begin(), text.end(), include), end; found != end;
           ++found) {
        const std::string header = (*found)[1];
        EXPECT_TRUE(kBesideTheDoor.contains(header))
            << path << " includes kernels/" << header << ".h; call it through dispatch.h";
        entered.insert(header);
      }
    }
  }
  EXPECT_TRUE(entered.contains("dispatch"));
}

}  // namespace
}  // namespace quell
