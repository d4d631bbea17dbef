#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <exception>
#include <new>

#include "framework/base/error.h"
#include "framework/base/suggest.h"
#include "framework/cli/verb.h"

namespace quell {
namespace {

void print_help() {
  fmt::print(
      "quell quantizes transformers whose activations have outliers.\n\n"
      "usage: quell VERB [arguments]; quell VERB --help explains a verb\n\n");
  for (const Verb& verb : verbs()) fmt::print("  {:<11} {}\n", verb.name, verb.summary);
}

// The way out where there is not enough memory.
constexpr const char* kLessMemory =
    "; lower task.batch_size, task.max_length or calibration.pad_to";

int dispatch(const Arguments& arguments) {
  if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h" ||
      arguments[0] == "help") {
    print_help();
    return arguments.empty() ? 2 : 0;
  }
  if (arguments[0] == "--version") {
    fmt::print("quell {}\n", QUELL_VERSION);
    return 0;
  }
  std::vector<std::string> names;
  for (const Verb& verb : verbs()) {
    names.push_back(verb.name);
    if (verb.name != arguments[0]) continue;
    Plugins plugins;
    register_all_plugins(plugins);
    return verb.run(plugins, Arguments(arguments.begin() + 1, arguments.end()));
  }
  throw ConfigError(
      fmt::format("unknown verb \"{}\"{}", arguments[0], did_you_mean(arguments[0], names)));
}

}  // namespace

const std::vector<Verb>& verbs() {
  static const std::vector<Verb> all = {
      {"run", "run experiments", run_run},
      {"sweep", "run an experiment with many settings", run_sweep},
      {"report", "put the metrics of many runs into a table", run_report},
      {"compare", "explain how two runs differ", run_compare},
      {"check", "show what an experiment would do, without running it", run_check},
      {"sensitivity", "quantize groups of sites alone, and all but one", run_sensitivity},
      {"allocate", "choose bits for each group of sites under a budget", run_allocate},
      {"parity", "compare one quantized network by two engines", run_parity},
      {"export", "write the network behind a pipeline for others to load", run_export},
      {"list", "list the plug-ins", run_list},
      {"describe", "explain one plug-in", run_describe},
      {"schema", "print the JSON Schema of experiment files", run_schema},
      {"import", "turn a configuration file of published code into an experiment", run_import},
      {"inspect", "print a results file as a table", run_inspect},
      {"outliers", "look at the activations of an experiment's float model", run_outliers},
      {"probe", "show what an observer and a quantizer do to tensors of a file", run_probe},
      {"tokenize", "show the tokens that a model sees", run_tokenize},
      {"score", "compute a task's metrics from a file of predictions", run_score}};
  return all;
}

int run_program(const Arguments& arguments) {
  try {
    return dispatch(arguments);
  } catch (const Error& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return error.exit_code();
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "error: out of memory{}\n", kLessMemory);
  } catch (const c10::Error& error) {  // what() has a trace of the stack
    const std::string message = error.what_without_backtrace();
    const bool is_memory = message.find("can't allocate memory") != std::string::npos;
    fmt::print(stderr, "error: {}{}\n", message, is_memory ? kLessMemory : "");
  } catch (const std::exception& error) {
    fmt::print(stderr, "error: {}\n", error.what());
  }
  return 1;
}

}  // namespace quell
