#include "framework/sweep/slurm_options.h"

#include <fmt/format.h>
#include <algorithm>
#include <map>
#include <regex>

namespace quell {
namespace {

// Options of sbatch that the script sets, and the key that does.
const std::map<std::string, std::string> kOwnOptions = {{"--partition", "partition"},
                                                        {"--account", "account"},
                                                        {"--time", "time"},
                                                        {"--mem", "memory"},
                                                        {"--cpus-per-task", "cpus_per_task"},
                                                        {"--array", "array_limit"},
                                                        {"--output", ""},
                                                        {"--error", ""},
                                                        {"--chdir", ""},
                                                        {"--wrap", ""},
                                                        {"--nodes", ""},
                                                        {"--ntasks", ""}};

bool is_plain_line(const std::string& text) {
  return std::none_of(text.begin(), text.end(), [](unsigned char c) { return c < ' '; });
}

std::string problem_with_option(const std::string& option) {
  if (!option.starts_with("--") || !is_plain_line(option)) {
    return fmt::format("expected one long option of sbatch, as --qos=low, found \"{}\"", option);
  }
  const auto own = kOwnOptions.find(option.substr(0, option.find_first_of("= ")));
  if (own == kOwnOptions.end()) return "";
  if (own->second.empty()) return fmt::format("{} is set by quell", own->first);
  return fmt::format("{} has a key of its own: {}", own->first, own->second);
}

}  // namespace

void SlurmOptions::check(const SlurmOptions& options, Report& report) {
  // Slurm would take 2:30 for two minutes and a half: what means hours has three parts.
  static const std::regex time(R"((\d+-)?\d{1,2}:\d{2}:\d{2})");
  static const std::regex memory(R"([1-9]\d*[KMGT])");
  if (!options.time.empty() && !std::regex_match(options.time, time)) {
    report.problem("time", fmt::format("expected hours:minutes:seconds, as 2:30:00, or "
                                       "days-hours:minutes:seconds, found \"{}\"",
                                       options.time));
  }
  if (!options.memory.empty() && !std::regex_match(options.memory, memory)) {
    report.problem("memory", fmt::format("expected a size with its unit, as 800M or 16G, found "
                                         "\"{}\"",
                                         options.memory));
  }
  for (const char* key : {"partition", "account"}) {
    const std::string& value = key[0] == 'p' ? options.partition : options.account;
    if (!is_plain_line(value)) report.problem(key, "must be one line");
  }
  for (const std::string& option : options.options) {
    const std::string problem = problem_with_option(option);
    if (!problem.empty()) report.problem("options", problem);
  }
}

}  // namespace quell
