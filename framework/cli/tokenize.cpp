#include <fmt/format.h>
#include <fstream>
#include <iostream>

#include "framework/base/error.h"
#include "framework/cli/verb.h"
#include "framework/text/tokenize_lines.h"

namespace quell {
namespace po = boost::program_options;
namespace {

LineFormat parse_format(const std::string& name) {
  if (name == "auto") return LineFormat::kAuto;
  if (name == "text") return LineFormat::kPlain;
  if (name == "json") return LineFormat::kJson;
  throw ConfigError(fmt::format("--format: expected auto, text or json, found \"{}\"", name));
}

int64_t at_least(const CommandLine& line, const char* option, int64_t least) {
  const auto value = line.get<int64_t>(option);
  if (value >= least) return value;
  throw ConfigError(fmt::format("--{}: expected at least {}, found {}", option, least, value));
}

}  // namespace

int run_tokenize(const Plugins&, const Arguments& arguments) {
  CommandLine line(
      "tokenize MODEL_FOLDER [FILE] [options]",
      "Shows what a model sees of a text: lines of text, or JSON lines with \"text\", "
      "\"pair\" and\n\"op\", become JSON lines of ids, types, tokens and offsets. Reads "
      "standard input without a FILE.");
  line.add()("format", po::value<std::string>()->default_value("auto"),
             "input: auto, text or json")("max_length", po::value<int64_t>(),
                                          "cut to so many tokens")(
      "truncation", po::value<std::string>()->default_value("longest_first"),
      "longest_first, only_first or only_second")("stride", po::value<int64_t>()->default_value(0),
                                                  "overlap of neighbouring windows")(
      "overflow", "all windows, not only the first")("no_special", "without [CLS], [SEP]")(
      "decode", "also decode the ids")("ascii", "escape everything outside ASCII")(
      "json", "print JSON (it always is)");
  line.positional("files", 2);
  if (!line.parse(arguments)) return 0;
  const auto files = line.list("files");
  if (files.empty())
    throw ConfigError("tokenize needs a model folder; see `quell tokenize --help`");

  TokenizeLinesOptions options;
  options.format = parse_format(line.get<std::string>("format"));
  options.decode = line.has("decode");
  options.ascii = line.has("ascii");
  options.tokenizer.special_tokens = !line.has("no_special");
  options.tokenizer.overflow = line.has("overflow");
  options.tokenizer.truncation = parse_truncation(line.get<std::string>("truncation"));
  options.tokenizer.stride = at_least(line, "stride", 0);
  if (line.has("max_length")) options.tokenizer.max_length = at_least(line, "max_length", 0);

  const auto tokenizer = load_tokenizer(files[0]);
  for (const std::string& note : tokenizer->notes()) fmt::print(stderr, "{}\n", note);
  std::ios::sync_with_stdio(false);
  if (files.size() == 1) {
    tokenize_lines(*tokenizer, std::cin, "standard input", std::cout, options);
  } else {
    std::ifstream input(files[1], std::ios::binary);
    if (!input) throw DataError(fmt::format("{}: cannot read", files[1]));
    tokenize_lines(*tokenizer, input, files[1], std::cout, options);
  }
  std::cout.flush();
  return 0;
}

}  // namespace quell
