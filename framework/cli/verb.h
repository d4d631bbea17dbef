// The verbs of the command line: one file each.
#pragma once

#include <boost/program_options.hpp>
#include <string>
#include <vector>

#include "framework/plugin/registry.h"

namespace quell {

using Arguments = std::vector<std::string>;

struct Verb {
  std::string name;
  std::string summary;
  // Returns the exit code, or throws Error.
  int (*run)(const Plugins& plugins, const Arguments& arguments);
};

// All verbs, in the order in which help shows them.
const std::vector<Verb>& verbs();

int run_run(const Plugins& plugins, const Arguments& arguments);
int run_sweep(const Plugins& plugins, const Arguments& arguments);
int run_report(const Plugins& plugins, const Arguments& arguments);
int run_compare(const Plugins& plugins, const Arguments& arguments);
int run_check(const Plugins& plugins, const Arguments& arguments);
int run_list(const Plugins& plugins, const Arguments& arguments);
int run_describe(const Plugins& plugins, const Arguments& arguments);
int run_schema(const Plugins& plugins, const Arguments& arguments);
int run_inspect(const Plugins& plugins, const Arguments& arguments);
int run_outliers(const Plugins& plugins, const Arguments& arguments);
int run_import(const Plugins& plugins, const Arguments& arguments);
int run_probe(const Plugins& plugins, const Arguments& arguments);
int run_tokenize(const Plugins& plugins, const Arguments& arguments);
int run_sensitivity(const Plugins& plugins, const Arguments& arguments);
int run_allocate(const Plugins& plugins, const Arguments& arguments);
int run_parity(const Plugins& plugins, const Arguments& arguments);
int run_export(const Plugins& plugins, const Arguments& arguments);
int run_score(const Plugins& plugins, const Arguments& arguments);

// The whole program: finds the verb and turns every exception into a message and an exit code.
int run_program(const Arguments& arguments);

// Parses the arguments of one verb.
class CommandLine {
 public:
  // `usage` is the line behind `quell`, such as "run EXPERIMENT... [options]".
  CommandLine(std::string usage, std::string description);

  // Options that take values, or flags.
  boost::program_options::options_description_easy_init add();
  // The name under which positional arguments are found; at most `limit` of them (-1: any number).
  void positional(const char* name, int limit);

  // False when help was asked for and shown. Throws ConfigError for a bad command line, with a
  // suggestion for an unknown option.
  bool parse(const Arguments& arguments);

  bool has(const std::string& name) const { return values_.count(name) > 0; }
  template <class T>
  const T& get(const std::string& name) const {
    return values_[name].as<T>();
  }
  // Positional or repeated values; empty when there are none.
  std::vector<std::string> list(const std::string& name) const;

 private:
  std::string usage_;
  std::string description_;
  boost::program_options::options_description options_{"options"};
  boost::program_options::options_description hidden_;
  boost::program_options::positional_options_description positional_;
  boost::program_options::variables_map values_;
};

}  // namespace quell
