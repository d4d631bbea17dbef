#include "framework/record/environment.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <link.h>
#include <torch/version.h>
#include <unistd.h>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "framework/io/sha256.h"

namespace quell {
namespace {

// The note that the linker leaves in the program: a hash of its contents.
std::string note_in(const char* notes, size_t size) {
  for (size_t at = 0; at + sizeof(ElfW(Nhdr)) <= size;) {
    ElfW(Nhdr) note;
    std::memcpy(&note, notes + at, sizeof(note));
    const auto padded = [](size_t bytes) { return (bytes + 3) / 4 * 4; };
    const size_t value = at + sizeof(note) + padded(note.n_namesz);
    if (note.n_type == NT_GNU_BUILD_ID) {
      const auto* bytes = reinterpret_cast<const unsigned char*>(notes + value);
      return fmt::format("{:02x}", fmt::join(bytes, bytes + note.n_descsz, ""));
    }
    at = value + padded(note.n_descsz);
  }
  return "";
}

// Of this program, which changes with its code; "unknown" where the linker was told to leave it
// out.
std::string build_id() {
  std::string id;
  ::dl_iterate_phdr(
      [](dl_phdr_info* program, size_t, void* result) {
        for (int i = 0; i < program->dlpi_phnum; ++i) {
          const auto& header = program->dlpi_phdr[i];
          if (header.p_type != PT_NOTE) continue;
          const auto* notes = reinterpret_cast<const char*>(program->dlpi_addr + header.p_vaddr);
          const std::string found = note_in(notes, header.p_memsz);
          if (!found.empty()) *static_cast<std::string*>(result) = found;
        }
        return 1;  // the first one is the program itself
      },
      &id);
  return id.empty() ? "unknown" : id;
}

}  // namespace

// Not getrusage(): that is also of whatever the process was before it became this program.
int64_t peak_memory_bytes() {
  constexpr int64_t kKibibyte = 1024;
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("VmHWM:")) return std::stoll(line.substr(line.find(':') + 1)) * kKibibyte;
  }
  return 0;
}

std::string processor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

std::string instruction_sets() {
  const char* limit = std::getenv("ONEDNN_MAX_CPU_ISA");
  return fmt::format("LibTorch {}, oneDNN {}", at::get_cpu_capability(),
                     limit == nullptr ? "unlimited" : limit);
}

std::string code_version() {
  return fmt::format("quell {} (build {}), LibTorch {} ({})", QUELL_VERSION, build_id(),
                     TORCH_VERSION, instruction_sets());
}

std::string environment_json(const RunRecord& run) {
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
  root["instruction_sets"] = instruction_sets();
  root["threads"] = at::get_num_threads();
  root["device"] = run.device;
  if (run.device != "cpu") root["tf32"] = at::globalContext().allowTF32CuBLAS();
  root["model"] = {{"path", run.model_folder.string()}, {"sha256", run.model_fingerprint}};
  auto& data = root["data"] = nlohmann::ordered_json::object();
  for (const std::string& file : run.task_files) data[file] = sha256_of_file(file);
  // A step may occur twice in a pipeline.
  nlohmann::ordered_json seconds = nlohmann::ordered_json::object(), processor = seconds;
  for (const PartTime& time : run.times) {
    seconds[time.part] = time.seconds + seconds.value(time.part, 0.0);
    processor[time.part] = time.processor_seconds + processor.value(time.part, 0.0);
  }
  root["peak_memory_bytes"] = peak_memory_bytes();
  root["seconds"] = std::move(seconds);
  root["processor_seconds"] = std::move(processor);
  return root.dump(2) + "\n";
}

}  // namespace quell
