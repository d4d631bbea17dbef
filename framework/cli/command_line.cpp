#include <fmt/format.h>
#include <sstream>

#include "framework/base/error.h"
#include "framework/base/suggest.h"
#include "framework/cli/verb.h"

namespace quell {
namespace po = boost::program_options;

CommandLine::CommandLine(std::string usage, std::string description)
    : usage_(std::move(usage)), description_(std::move(description)) {
  options_.add_options()("help,h", "show this help");
}

po::options_description_easy_init CommandLine::add() { return options_.add_options(); }

void CommandLine::positional(const char* name, int limit) {
  hidden_.add_options()(name, po::value<std::vector<std::string>>());
  positional_.add(name, limit);
}

bool CommandLine::parse(const Arguments& arguments) {
  po::options_description all;
  all.add(options_).add(hidden_);
  try {
    po::store(po::command_line_parser(arguments).options(all).positional(positional_).run(),
              values_);
    po::notify(values_);
  } catch (const po::unknown_option& error) {
    std::vector<std::string> known;
    for (const auto& option : options_.options()) known.push_back("--" + option->long_name());
    throw ConfigError(fmt::format("unknown option {}{}", error.get_option_name(),
                                  did_you_mean(error.get_option_name(), known)));
  } catch (const po::error& error) {
    throw ConfigError(fmt::format("{}; usage: quell {}", error.what(), usage_));
  }
  if (!has("help")) return true;
  std::ostringstream text;
  text << options_;
  fmt::print("usage: quell {}\n\n{}\n\n{}", usage_, description_, text.str());
  return false;
}

std::vector<std::string> CommandLine::list(const std::string& name) const {
  return has(name) ? get<std::vector<std::string>>(name) : std::vector<std::string>();
}

}  // namespace quell
