// Gives stored inputs to their targets: `fuzz_replay CORPUS`, where CORPUS/<target>/ holds files.
#include <fmt/format.h>
#include <map>

#include "framework/base/file.h"
#include "fuzz/fuzz.h"

namespace quell::fuzz {
namespace {

std::map<std::string, Target>& targets() {
  static std::map<std::string, Target> all;
  return all;
}

}  // namespace

bool add_target(const char* name, Target target) { return targets().emplace(name, target).second; }

}  // namespace quell::fuzz

int main(int argc, char** argv) {
  using namespace quell::fuzz;
  if (argc != 2) {
    fmt::print(stderr, "usage: fuzz_replay CORPUS\n");
    return 2;
  }
  int failed = 0;
  for (const auto& [name, target] : targets()) {
    int inputs = 0;
    const std::filesystem::path folder = std::filesystem::path(argv[1]) / name;
    if (std::filesystem::exists(folder)) {
      for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        try {
          run(target, quell::read_file(entry.path()));
          ++inputs;
        } catch (const std::exception& error) {
          fmt::print("{}: {}\n", entry.path().string(), error.what());
          ++failed;
        }
      }
    }
    fmt::print("{}: {} inputs\n", name, inputs);
    if (inputs == 0) ++failed;  // every target has some
  }
  return failed == 0 ? 0 : 1;
}
