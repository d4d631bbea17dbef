#include "framework/run/environment.h"

#include <ATen/Parallel.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <torch/version.h>
#include <unistd.h>
#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>

#include "framework/io/sha256.h"

namespace quell {

std::string processor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

std::string code_version() {
  return fmt::format("quell {}, LibTorch {}", QUELL_VERSION, TORCH_VERSION);
}

std::string environment_json(const Runner& runner) {
  char host[256] = "";
  ::gethostname(host, sizeof(host) - 1);
  nlohmann::ordered_json root;
  root["quell_version"] = QUELL_VERSION;
  root["libtorch_version"] = TORCH_VERSION;
  root["compiler"] = __VERSION__;
  root["finished"] = fmt::format(
      "{:%Y-%m-%dT%H:%M:%SZ}",
      fmt::gmtime(std::chrono::system_clock::to_time_t(std::chrono::system_clock::now())));
  root["host"] = host;
  root["processor"] = processor();
  root["threads"] = at::get_num_threads();
  root["model"] = {{"path", runner.checkpoint().folder().string()},
                   {"sha256", runner.checkpoint().fingerprint()}};
  auto& data = root["data"] = nlohmann::ordered_json::object();
  for (const std::string& file : runner.task_files()) data[file] = sha256_of_file(file);
  auto& seconds = root["seconds"] = nlohmann::ordered_json::object();
  for (const auto& [part, value] : runner.seconds()) {
    // A step may occur twice in a pipeline.
    seconds[part] = value + seconds.value(part, 0.0);
  }
  return root.dump(2) + "\n";
}

}  // namespace quell
