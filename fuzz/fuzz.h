// Fuzzing the readers of foreign bytes. A target is one small file:
//
//   QUELL_FUZZ(yaml) { ... input ... }
//
// `input` holds any bytes; whatever quell throws about them is right, as long as the message is
// text that can be shown. Built by Clang, each target is a program of libFuzzer (`make fuzz`); the
// build with the tests has one program that replays the stored inputs of all targets.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace quell::fuzz {

using Target = void (*)(std::string_view input);

// Runs a target. Aborts where a message is not UTF-8 or longer than 5,000 bytes; exceptions that
// are not quell's pass through.
void run(Target target, std::string_view input);

// A file in memory of that name, and nothing beside it, until the next call.
std::filesystem::path as_file(std::string_view input, const std::string& name = "file");

// A folder in memory with these files, until the next call: the pieces of `input` between zero
// bytes, in the order of `names`. A piece that is not there is no file.
std::filesystem::path as_folder(std::string_view input, const std::vector<std::string>& names);

// For the program that replays.
bool add_target(const char* name, Target target);

}  // namespace quell::fuzz

#ifdef QUELL_LIBFUZZER
#define QUELL_FUZZ(name)                                                        \
  static void fuzz_##name(std::string_view input);                              \
  extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {     \
    quell::fuzz::run(fuzz_##name, {reinterpret_cast<const char*>(data), size}); \
    return 0;                                                                   \
  }                                                                             \
  static void fuzz_##name(std::string_view input)
#else
#define QUELL_FUZZ(name)                                                                         \
  static void fuzz_##name(std::string_view input);                                               \
  [[maybe_unused]] static const bool added_##name = quell::fuzz::add_target(#name, fuzz_##name); \
  static void fuzz_##name(std::string_view input)
#endif
